// prototypes fit|evaluate: cell-type prototypes from labelled cells by a negative binomial GLM with batch covariates.
// `prototypes fit --help` lists every option.

#include "estimator.hpp"
#include "options.hpp"
#include "run.hpp"

#include "common/command_line.hpp"
#include "common/interrupt.hpp"

#include <eosin/core/version.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <new>
#include <string>

namespace {

using prototypes::Options;

/// An option whose text `parse` turns into `target`; what it cannot parse is wrong usage.
template <class T, class Parse>
CLI::Option* parsed(CLI::App& app, const std::string& name, T& target, Parse parse, const std::string& form,
                    const std::string& help) {
  return app
      .add_option_function<std::string>(
          name, [&target, parse](const std::string& text) { target = *parse(text); }, help)
      ->type_name(form)
      ->check([parse, form](const std::string& text) {
        return parse(text) ? std::string() : "'" + text + "' is not of the form " + form;
      });
}

CLI::Option* repeated(CLI::App& app, const std::string& name, std::vector<std::string>& target,
                      const std::string& help) {
  return app.add_option(name, target, help)->allow_extra_args(false)->type_name("FILE");
}

void add_data_options(CLI::App& app, Options& o) {
  repeated(app, "--counts", o.counts,
           "counts, as often as there are files: MatrixMarket (.mtx, .mtx.gz, or a folder with one), CSV or TSV, "
           "h5ad, or 10x HDF5")
      ->required();
  repeated(app, "--cells", o.cells,
           "table of the cells of each --counts: CSV or TSV with a header, the first column names the cells; h5ad "
           "files bring their own");
  repeated(app, "--features", o.features,
           "names of the genes of a MatrixMarket file, first field of each line, one for all --counts or one each "
           "[default: features.tsv or genes.tsv beside it, .gz or not]");
  app.add_option("--label-column", o.label_column, "column of the cells with their type")->required()->type_name("C");
  app.add_option("--batch-column", o.batch_column,
                 "column of the cells with their batch [default: each --counts is a batch; none for one file]")
      ->type_name("C");
  app.add_option("--covariates", o.covariates, "columns with further categorical covariates")
      ->delimiter(',')
      ->type_name("C,...");
  parsed(app, "--size-factors", o.size_factors, prototypes::parse_size_factors,
         "total|normed-sum|poscounts|column:NAME",
         "relative depth of the cells: their total counts, to geometric mean 1 [default: total]");
  parsed(app, "--dispersion", o.dispersion, prototypes::parse_dispersion,
         "cox-reid|cox-reid-plugin|ml|shrunken|fixed:V|file:F",
         "variance = mean + dispersion mean^2; F is a CSV with columns gene, dispersion [default: cox-reid]");
  app.add_option_function<std::vector<std::string>>(
         "--where",
         [&o](const std::vector<std::string>& texts) {
           for (const auto& text : texts) o.conditions.push_back(*prototypes::parse_condition(text));
         },
         "only cells with this value in this column; on several columns all must hold, on one column any")
      ->allow_extra_args(false)
      ->type_name("COLUMN=VALUE")
      ->check([](const std::string& text) {
        return prototypes::parse_condition(text) ? std::string() : "'" + text + "' is not of the form COLUMN=VALUE";
      });
  app.add_option("--genes", o.genes, "genes to fit, one per line; size factors still come from all [default: all]")
      ->type_name("FILE");
  common::optional_choice(app, "--orientation", o.orientation, prototypes::orientation_words,
                          "of MatrixMarket, CSV and TSV [default: told from lengths and names]");
  app.add_option("--matrix", o.matrix, "matrix of h5ad files: X, raw/X or layers/NAME")
      ->capture_default_str()
      ->type_name("PATH");
  app.add_option("--threads", o.threads, "threads, 0 all; results do not depend on it")
      ->capture_default_str()
      ->check(common::thread_count);
  parsed(app, "--memory", o.memory, prototypes::parse_bytes, "BYTES",
         "memory for counts, e.g. 500MB, 2GiB; what does not fit goes to a temporary file [default: 2GiB]");
  app.add_flag("--quiet", o.quiet, "say nothing but errors");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Cell-type prototypes from labelled single cells (negative binomial GLM)."};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("prototypes ") + eosin::version);
  Options options;
  auto* fit = app.add_subcommand("fit", "estimate coefficients, dispersions, prototypes and markers");
  add_data_options(*fit, options);
  fit->add_option("--out", options.out, "folder of the results, made if missing")->required()->type_name("DIR");
  fit->add_option("--h5ad", options.h5ad, "the results as AnnData too")->type_name("OUT");

  prototypes::EvaluateOptions evaluation;
  auto* evaluate = app.add_subcommand("evaluate", "log-likelihood of held-out cells with and without the batches");
  add_data_options(*evaluate, options);
  evaluate->add_option("--hold-out", evaluation.hold_out, "share of the cells of each type and batch that is held out")
      ->capture_default_str()
      ->check(common::in_range(1e-6, 0.999, "SHARE"));
  evaluate->add_option("--seed", evaluation.seed, "seed of the choice of cells")->capture_default_str();

  try {
    app.parse(argc, argv);
    const auto& o = options;
    if (!o.cells.empty() && o.cells.size() != o.counts.size())
      throw CLI::ValidationError("--cells", "give one for each --counts, or none");
    if (o.features.size() > 1 && o.features.size() != o.counts.size())
      throw CLI::ValidationError("--features", "give one for all --counts, or one each");
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  }

  try {
    const common::Interrupt interrupt;
    if (fit->parsed())
      prototypes::fit(options, common::command_of(argc, argv));
    else
      prototypes::evaluate(options, evaluation);
  } catch (const std::bad_alloc&) {
    std::fputs("prototypes: there is not enough memory\n", stderr);
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "prototypes: %s\n", error.what());
    return 1;
  }
  return 0;
}
