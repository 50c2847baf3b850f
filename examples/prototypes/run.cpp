#include "run.hpp"

#include "estimator.hpp"
#include "held_out.hpp"
#include "input.hpp"
#include "markers.hpp"
#include "output.hpp"

#include "common/interrupt.hpp"
#include "common/progress.hpp"
#include "common/run_support.hpp"

#include <eosin/core/context.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <stop_token>
#include <string>
#include <utility>

namespace prototypes {

namespace {

/// glm::fit with a progress line and Ctrl-C.
template <class Source>
eosin::glm::FitResults fit_with_progress(eosin::CpuContext& context, Source& counts, const eosin::glm::Design& design,
                                         eosin::glm::FitOptions options, const std::string& label, bool quiet) {
  common::ProgressOptions style;
  if (quiet) style.style = common::ProgressStyle::silent;
  common::Progress progress(label, counts.genes(), "genes", style);
  std::stop_source stop;
  options.cancellation = stop.get_token();
  options.progress = [&](Index done, Index) {
    progress.update(done);
    if (common::Interrupt::requested()) stop.request_stop();
  };
  auto results = eosin::glm::fit(context, counts, design, options);
  progress.finish();
  return results;
}

/// What can be known to fail is found out before the work.
void require_writable(const Options& options) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!options.out.empty() && fs::exists(options.out, error) && !fs::is_directory(options.out, error))
    throw eosin::FileError(options.out + ": is a file, a folder is expected");
  const fs::path folder = fs::path(options.h5ad).parent_path();
#if !EOSIN_HAS_HDF5
  if (!options.h5ad.empty())
    throw eosin::FileError(options.h5ad +
                           ": writing HDF5 needs the package libhdf5-dev, which was not found when this "
                           "program was built");
#endif
  if (!options.h5ad.empty() && !folder.empty() && !fs::is_directory(folder, error))
    throw eosin::FileError(options.h5ad + ": its folder does not exist");
  if (!options.h5ad.empty() && fs::is_directory(options.h5ad, error))
    throw eosin::FileError(options.h5ad + ": is a folder, a file is expected");
}

}  // namespace

void fit(const Options& options, const std::string& command) {
  require_writable(options);
  eosin::CpuContext context({.threads = options.threads});
  const auto log = common::logger(options.quiet);
  Seconds seconds;
  const auto begin = std::chrono::steady_clock::now();
  Input input = read_input(options, log, [] { common::Interrupt::check(); });
  auto fit_options = make_fit_options(options, input);
  seconds.read = common::seconds_since(begin);

  const auto before_fit = std::chrono::steady_clock::now();
  const auto design = make_design(options, input);
  MarkerTests tests(design, !input.batch_word.empty(), static_cast<Index>(input.genes.size()));
  fit_options.inspect = [&tests](Index gene, const eosin::glm::GeneFit& fit) { tests.add(gene, fit); };
  const auto results = fit_with_progress(context, input.counts, design, fit_options, "fit", options.quiet);
  const auto markers = tests.finish(results);
  seconds.fit = common::seconds_since(before_fit);
  common::Interrupt::check();
  write_results({options, command, context.threads(), input, design, results, markers}, seconds);
  if (options.quiet) return;
  const Index without_depth = input.account.cells_used - results.cells_used;
  if (without_depth > 0) log(std::to_string(without_depth) + " cells without any count take no part");

  // The surest markers of each level.
  for (std::size_t i = 0; i < markers.size();) {
    std::string line;
    const std::string level = markers[i].level;
    int shown = 0;
    for (; i < markers.size() && markers[i].level == level; ++i)
      if (shown++ < 8) line += " " + input.genes[static_cast<std::size_t>(markers[i].gene)];
    std::printf("%-24s%s\n", level.c_str(), line.c_str());
  }
  std::printf("read %.3f s, fit %.3f s: %s\n", seconds.read, seconds.fit,
              (std::filesystem::path(options.out) / "summary.json").string().c_str());
}

void evaluate(const Options& options, const EvaluateOptions& evaluation) {
  eosin::CpuContext context({.threads = options.threads});
  const auto log = common::logger(options.quiet);
  Input input = read_input(options, log, [] { common::Interrupt::check(); });
  if (input.batch.levels() < 2)
    throw eosin::ValueError("evaluate compares with and without batches; there " +
                            std::string(input.batch.levels() == 0 ? "is no --batch-column" : "is one batch only"));
  auto fit_options = make_fit_options(options, input);
  fit_options.standard_errors = false;
  const auto factors = eosin::glm::size_factors(input.counts, fit_options.size_factors);
  fit_options.size_factors = std::vector<double>(factors.begin(), factors.end());
  const auto held = hold_out_cells(input.type, input.batch, evaluation.hold_out, evaluation.seed);

  const eosin::glm::Design with(held.type, held.batch), without(held.type);
  const auto fit_with = fit_with_progress(context, input.counts, with, fit_options, "fit with batches", options.quiet);
  const auto fit_without =
      fit_with_progress(context, input.counts, without, fit_options, "fit without batches", options.quiet);
  const auto scores = score_held_out(input.counts, factors.view(), input.type, input.batch, held, {&fit_with, &with},
                                     {&fit_without, &without});
  std::printf("held out: %td of %td cells (%.3g of each type and batch, seed %llu), %td genes\n", scores.cells,
              input.type.cells(), evaluation.hold_out, static_cast<unsigned long long>(evaluation.seed), scores.genes);
  std::printf("log-likelihood per held-out cell  %14s %14s %12s %8s\n", "with batches", "without", "difference", "+-");
  const auto row = [](const char* what, const HeldOutScore& score) {
    std::printf("%-33s %14.4f %14.4f %+12.4f %8.4f\n", what, score.with, score.without, score.difference(),
                score.difference_error);
  };
  row("all genes", scores.all);
  row("genes seen in each type and batch", scores.seen);
  std::printf(
      "genes seen in each type and batch: %td. Of %td held-out counts that are not 0, %td with batches and %td "
      "without fall on a fitted mean of exactly 0, for which half a count over the training cells of its level "
      "stands; %td on one that is not estimable, which is left out of both.\n",
      scores.genes_seen, scores.nonzeros, scores.on_zero_with, scores.on_zero_without, scores.left_out);
}

}  // namespace prototypes
