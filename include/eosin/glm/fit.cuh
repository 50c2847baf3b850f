#pragma once

// glm::fit on the device. The processor reads and checks the counts, brings each gene's into the order of the groups,
// and finds by their sums what the gene determines and where its iteration starts (gene_structure.hpp); the device does
// what needs the counts again and again: coefficients, dispersion, likelihoods and standard errors (gene_solver.cuh).
// The results have the same meaning as on the processor and differ by rounding.
//
// Counts go to the device some thousand genes at a time, 8 bytes per nonzero; per gene also 4 (groups + 3 types +
// 3 columns) bytes and what comes back, 8 (3 types + 2 columns) bytes. The longest genes start first, so that none of
// them is left alone at the end. Time of the device for 20,000 genes x 10^6 cells: see gene_solver.cuh; the processor's
// part of it is that of reading, some nanoseconds per nonzero and thread, and the upload of 4.8 GB takes 0.1 to 0.5 s.
//
// What is not covered: FitOptions::inspect, which is given the processor's solver.

#include <eosin/core/cuda_context.cuh>
#include <eosin/glm/fit.hpp>
#include <eosin/glm/gene_solver.cuh>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

namespace eosin::glm {

namespace detail {

/// A gene on its way to the device.
struct StagedGene {
  StagedGene(const CellGroups& groups, const GroupSums& sums) : structure(groups, sums) {}

  GeneStructure structure;
  CountSums counts;
  std::vector<CellCount> entries;
};

/// Memory that grows with what is put there.
template <class T>
class GrowingDeviceBuffer {
 public:
  VectorView<T, Device> room(Index n) {
    if (buffer_.size() < n) buffer_ = Buffer<T, Device>(n + n / 2, Uninitialised{});
    return {buffer_.data(), n};
  }
  void upload(CudaContext& context, const T* from, Index n) {
    eosin::upload<T>(context, VectorView<const T>(from, n), room(n));
  }
  T* data() { return buffer_.data(); }

 private:
  Buffer<T, Device> buffer_;
};

/// The design and the tables, and one batch of genes after the other, on the device.
class GenesOnDevice {
 public:
  GenesOnDevice(CudaContext& context, CpuContext& host, const CellGroups& groups, const GroupSums& sums,
                const Vector<double>& level_weights)
      : context_(&context),
        host_(&host),
        groups_(&groups),
        record_{groups.groups(), groups.types(), groups.columns()},
        layout_{groups.types(), groups.columns()},
        sums_(context, sums.flat()),
        depth_(eosin::on_device(context, groups.size_factors())),
        level_weights_(eosin::on_device(context, level_weights.view())) {
    std::vector<int> begin, column, column_begin;
    for (Index k = 0; k < groups.groups(); ++k) {
      begin.push_back(static_cast<int>(groups.begin(k)));
      for (Index f = 0; f < groups.factors(); ++f) column.push_back(static_cast<int>(groups.column(k, f)));
    }
    begin.push_back(static_cast<int>(groups.used()));
    for (Index f = 0; f <= groups.factors(); ++f) column_begin.push_back(static_cast<int>(groups.column_begin(f)));
    group_begin_ = on_device(context, begin);
    group_column_ = on_device(context, column);
    column_begin_ = on_device(context, column_begin);
    const DeviceDesign design{static_cast<int>(groups.groups()),  static_cast<int>(groups.types()),
                              static_cast<int>(groups.factors()), static_cast<int>(groups.columns()),
                              group_begin_.view().data(),         group_column_.view().data(),
                              column_begin_.view().data(),        depth_.view().data(),
                              level_weights_.view().data(),       sums_.pointers()};
    design_ = eosin::on_device(context, VectorView<const DeviceDesign>(&design, 1));
  }

  /// Runs a batch; `dispersions` [genes] are those given, or null. Genes without counts are left out. What comes of
  /// gene g is then numbers(g) and outcome(g).
  void run(const std::vector<std::unique_ptr<StagedGene>>& genes, const double* dispersions, const GeneTask& task) {
    const Index count = static_cast<Index>(genes.size());
    pack(genes, dispersions);
    outcomes_.assign(genes.size(), GeneOutcome{});
    if (order_.empty()) return;
    device_order_.upload(*context_, order_.data(), static_cast<Index>(order_.size()));
    device_begin_.upload(*context_, begin_.data(), count + 1);
    device_entries_.upload(*context_, entries_.data(), begin_.back());
    device_integers_.upload(*context_, integers_.data(), static_cast<Index>(integers_.size()));
    device_numbers_.upload(*context_, numbers_.data(), static_cast<Index>(numbers_.size()));
    device_large_counts_.upload(*context_, large_counts_.data(), static_cast<Index>(large_counts_.size()));
    device_large_times_.upload(*context_, large_times_.data(), static_cast<Index>(large_times_.size()));
    const auto outcomes = device_outcomes_.room(count);
    const DeviceGenes on_device{
        static_cast<Index>(order_.size()), device_order_.data(),   device_begin_.data(), device_entries_.data(),
        device_integers_.data(),           device_numbers_.data(), outcomes.data(),      device_large_counts_.data(),
        device_large_times_.data()};
    launch(on_device, task);
    const auto numbers = device_numbers_.room(static_cast<Index>(numbers_.size()));
    download<double>(*context_, numbers, VectorView<double>(numbers_.data(), numbers.size()));
    // Genes that were left out have none.
    std::vector<GeneOutcome> received(genes.size());
    download<GeneOutcome>(*context_, outcomes, VectorView<GeneOutcome>(received.data(), count));
    for (const int g : order_) outcomes_[static_cast<std::size_t>(g)] = received[static_cast<std::size_t>(g)];
  }

  const double* numbers(Index gene) const { return numbers_.data() + gene * layout_.size(); }
  const GeneOutcome& outcome(Index gene) const { return outcomes_[static_cast<std::size_t>(gene)]; }
  const GeneNumbers& layout() const { return layout_; }

 private:
  /// More than this per block would leave too few blocks on a multiprocessor; then the L1 cache serves them better.
  static constexpr Index most_shared_bytes = 96 * 1024;

  void launch(const DeviceGenes& genes, const GeneTask& task) {
    const Index bytes =
        kernels::GeneLayout::bytes(groups_->groups(), groups_->types(), groups_->factors(), groups_->columns());
    if (bytes <= most_shared_bytes) {
      context_->launch_with_shared("glm::fit", kernels::fit_genes<true>, cuda::blocks_for(genes.genes, 1),
                                   kernels::gene_threads, static_cast<std::size_t>(bytes), design_.view().data(), genes,
                                   task, nullptr, bytes);
      return;
    }
    const Index blocks = std::min<Index>(genes.genes, Index{4} * context_->multiprocessors());
    const auto mark = context_->workspace().mark();
    const auto memory = context_->workspace().template take<unsigned char>(blocks * bytes);
    context_->launch("glm::fit", kernels::fit_genes<false>, static_cast<unsigned>(blocks), kernels::gene_threads,
                     design_.view().data(), genes, task, memory.data(), bytes);
  }

  /// Puts the genes behind each other in host memory.
  void pack(const std::vector<std::unique_ptr<StagedGene>>& genes, const double* dispersions) {
    const auto count = genes.size();
    order_.clear();
    begin_.assign(1, 0);
    large_counts_.clear();
    large_times_.clear();
    std::vector<int> large_begin;
    for (std::size_t g = 0; g < count; ++g) {
      if (genes[g]->structure.structure() != FitStatus::no_counts) order_.push_back(static_cast<int>(g));
      begin_.push_back(begin_.back() + static_cast<Index>(genes[g]->entries.size()));
      large_begin.push_back(static_cast<int>(large_counts_.size()));
      const auto &counts = genes[g]->counts.large_counts(), &times = genes[g]->counts.large_times();
      large_counts_.insert(large_counts_.end(), counts.begin(), counts.end());
      large_times_.insert(large_times_.end(), times.begin(), times.end());
    }
    std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) {
      return genes[static_cast<std::size_t>(a)]->entries.size() > genes[static_cast<std::size_t>(b)]->entries.size();
    });
    if (entries_.size() < begin_.back()) entries_ = PinnedBuffer<CellCount>(begin_.back() + begin_.back() / 2);
    integers_.assign(count * static_cast<std::size_t>(record_.size()), 0);
    numbers_.assign(count * static_cast<std::size_t>(layout_.size()), 0.0);
    constexpr Index of_task = 16;
    host_->parallel_for(static_cast<Index>(count), of_task, [&](Index from, Index to) {
      for (Index g = from; g < to; ++g) {
        const StagedGene& gene = *genes[static_cast<std::size_t>(g)];
        std::copy(gene.entries.begin(), gene.entries.end(), entries_.data() + begin_[static_cast<std::size_t>(g)]);
        double* const numbers = numbers_.data() + g * layout_.size();
        if (dispersions != nullptr) numbers[GeneNumbers::dispersion] = dispersions[g];
        if (gene.structure.structure() == FitStatus::no_counts) continue;
        write(gene, large_begin[static_cast<std::size_t>(g)], integers_.data() + g * record_.size(), numbers);
      }
    });
  }
  void write(const StagedGene& gene, int large_begin, int* record, double* numbers) const {
    const GeneStructure& structure = gene.structure;
    const auto &active = structure.active_groups(), &types = structure.active_types();
    const auto to_int = [](Index i) { return static_cast<int>(i); };
    record[GeneRecord::active] = to_int(static_cast<Index>(active.size()));
    record[GeneRecord::present_types] = to_int(static_cast<Index>(types.size()));
    record[GeneRecord::free] = to_int(structure.free_columns());
    record[GeneRecord::last_above] = to_int(gene.counts.last_above());
    record[GeneRecord::last_equal] = to_int(gene.counts.last_equal());
    record[GeneRecord::large] = static_cast<int>(gene.counts.large_counts().size());
    record[GeneRecord::large_begin] = large_begin;
    std::transform(active.begin(), active.end(), record + record_.active_groups(), to_int);
    std::transform(structure.type_range().begin(), structure.type_range().end(), record + record_.type_range(), to_int);
    for (std::size_t i = 0; i < types.size(); ++i) {
      record[record_.part_of_type() + static_cast<Index>(i)] = to_int(structure.part_of_type(types[i]));
      numbers[layout_.type_effects() + static_cast<Index>(i)] = structure.type_effects()[types[i]];
    }
    for (Index c = 0; c < groups_->columns(); ++c) {
      record[record_.slots() + c] = to_int(structure.slots()[static_cast<std::size_t>(c)]);
      record[record_.part_of_column() + c] = to_int(structure.part_of_column(c));
      numbers[layout_.column_effects() + c] = structure.column_effects()[c];
    }
    const auto copy_tally = [](const auto& from, Index last, int* to) {
      for (Index j = 0; j <= last; ++j) to[j] = static_cast<int>(from[static_cast<std::size_t>(j)]);
    };
    copy_tally(gene.counts.above(), gene.counts.last_above(), record + record_.above());
    copy_tally(gene.counts.equal(), gene.counts.last_equal(), record + record_.equal());
  }

  CudaContext* context_;
  CpuContext* host_;
  const CellGroups* groups_;
  GeneRecord record_;
  GeneNumbers layout_;
  GroupSumsOnDevice sums_;
  Vector<double, Device> depth_, level_weights_;
  Vector<int, Device> group_begin_, group_column_, column_begin_;
  Vector<DeviceDesign, Device> design_;

  std::vector<int> order_, integers_;
  std::vector<Index> begin_;
  PinnedBuffer<CellCount> entries_;
  std::vector<double> numbers_, large_counts_, large_times_;
  std::vector<GeneOutcome> outcomes_;
  GrowingDeviceBuffer<int> device_order_, device_integers_;
  GrowingDeviceBuffer<Index> device_begin_;
  GrowingDeviceBuffer<CellCount> device_entries_;
  GrowingDeviceBuffer<double> device_numbers_, device_large_counts_, device_large_times_;
  GrowingDeviceBuffer<GeneOutcome> device_outcomes_;
};

/// What the device is asked for.
inline GeneTask task_of(const Dispersion& choice) {
  GeneTask task;
  const auto estimate = [&](GeneTask::Estimate how, double factor, double largest) {
    task.estimate = how;
    task.cox_reid_factor = factor;
    task.largest = largest;
  };
  if (const auto* adjusted = std::get_if<CoxReid>(&choice)) {
    estimate(GeneTask::profile, adjusted->factor, adjusted->largest);
  } else if (const auto* plugin = std::get_if<CoxReidPlugin>(&choice)) {
    estimate(GeneTask::plugin, plugin->factor, plugin->largest);
  } else if (const auto* shrunken = std::get_if<Shrunken>(&choice)) {
    estimate(GeneTask::profile, shrunken->estimate.factor, shrunken->estimate.largest);
  } else if (const auto* likelihood = std::get_if<MaximumLikelihood>(&choice)) {
    estimate(GeneTask::profile, 0.0, likelihood->largest);
  }
  return task;
}

/// Dispersions given for all genes; empty where they are estimated.
inline std::vector<double> given_dispersions(const Dispersion& choice, Index genes) {
  const auto* fixed = std::get_if<Fixed>(&choice);
  if (fixed == nullptr) return {};
  if (const auto* one = std::get_if<double>(&fixed->value))
    return std::vector<double>(static_cast<std::size_t>(genes), *one);
  return std::get<std::vector<double>>(fixed->value);
}

/// Writes what came of a gene to its place in the results.
inline void store_gene(FitResults& results, const FitOptions& options, Index gene, StagedGene& staged, double phi,
                       const GenesOnDevice& device, Index number) {
  GeneStructure& structure = staged.structure;
  const GeneOutcome& outcome = device.outcome(number);
  const double* const numbers = device.numbers(number);
  const GeneNumbers& layout = device.layout();
  const Index types = layout.types, columns = layout.columns;
  const auto g = static_cast<std::size_t>(gene);
  const bool has_counts = structure.structure() != FitStatus::no_counts, has_errors = outcome.has_errors != 0;
  results.dispersion[gene] = phi;
  results.status[g] = has_counts && outcome.converged == 0 ? FitStatus::iteration_limit : structure.structure();
  results.log_likelihood[gene] = has_counts ? numbers[GeneNumbers::log_likelihood] : 0.0;
  results.deviance[gene] = has_counts ? numbers[GeneNumbers::deviance] : 0.0;
  Vector<double> type_effects(types), type_errors(types), prototype_errors(types), of_columns(columns);
  for (Vector<double>* errors : {&type_errors, &prototype_errors}) errors->fill(not_estimable);
  for (std::size_t i = 0; has_counts && i < structure.active_types().size(); ++i) {
    const Index t = structure.active_types()[i], from = static_cast<Index>(i);
    type_effects[t] = numbers[layout.type_effects() + from];
    if (!has_errors) continue;
    type_errors[t] = numbers[layout.type_errors() + from];
    prototype_errors[t] = numbers[layout.prototype_errors() + from];
  }
  structure.set_effects(type_effects.view().data(), numbers + layout.column_effects());
  for (Index t = 0; t < types; ++t) results.type_coefficients(gene, t) = structure.type_coefficient(t);
  for (Index c = 0; c < columns; ++c) of_columns[c] = structure.column_coefficient(c);
  store_columns(of_columns, results.batch_coefficients.row(gene), results.covariate_coefficients.row(gene));
  Vector<double> shares(columns);
  for (Index t = 0; t < types; ++t) {
    const double value = structure.log_prototype(t, results.level_weights.view(), shares.view().data());
    results.log_prototypes(t, gene) = value;
    if (options.standard_errors)
      results.log_prototype_errors(t, gene) = std::isfinite(value) ? prototype_errors[t] : not_estimable;
  }
  if (!options.standard_errors) return;
  for (Index t = 0; t < types; ++t)
    results.type_standard_errors(gene, t) = structure.estimable_type(t) ? type_errors[t] : not_estimable;
  for (Index c = 0; c < columns; ++c)
    of_columns[c] = has_errors && structure.estimable_column(c) ? numbers[layout.column_errors() + c] : not_estimable;
  store_columns(of_columns, results.batch_standard_errors.row(gene), results.covariate_standard_errors.row(gene));
}

template <class Source>
FitResults fit_source(CudaContext& context, Source& counts, const Design& design, const FitOptions& options) {
  require_value(!options.inspect, "fit on a device",
                "options.inspect is not covered: it is given the processor's solver");
  CpuContext host;
  FitResults results;
  const CellGroups groups = prepare_fit(host, counts, design, options, results);
  const GroupSums sums(host, groups);
  const Index genes = counts.genes();
  GenesOnDevice device(context, host, groups, sums, results.level_weights);

  // All genes have a place; those of a batch are filled.
  std::vector<std::unique_ptr<StagedGene>> batch(static_cast<std::size_t>(genes));
  std::vector<double> totals;
  const auto stage = [&](Index gene, std::span<const CellCount> entries, int) {
    auto staged = std::make_unique<StagedGene>(groups, sums);
    std::vector<double> by_group(static_cast<std::size_t>(groups.groups()), 0.0), values;
    values.reserve(entries.size());
    std::size_t e = 0;
    for (Index k = 0; k < groups.groups(); ++k)
      for (; e < entries.size() && static_cast<Index>(entries[e].position) < groups.end(k); ++e) {
        values.push_back(static_cast<double>(entries[e].count));
        by_group[static_cast<std::size_t>(k)] += values.back();
      }
    staged->entries.assign(entries.begin(), entries.end());
    staged->counts.load(values.data(), static_cast<Index>(values.size()));
    staged->structure.load_totals(by_group);
    batch[static_cast<std::size_t>(gene)] = std::move(staged);
  };
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("fit: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) + " genes");
  };

  const bool shrinks = std::holds_alternative<Shrunken>(options.dispersion);
  std::vector<double> given = given_dispersions(options.dispersion, genes);
  GeneTask task = task_of(options.dispersion);
  task.finish = !shrinks;
  task.standard_errors = options.standard_errors;
  task.max_iterations = options.max_iterations;
  bool first_pass = true;
  const auto run_batch = [&](Index from, Index to) {
    std::vector<std::unique_ptr<StagedGene>> staged;
    for (Index gene = from; gene < to; ++gene) staged.push_back(std::move(batch[static_cast<std::size_t>(gene)]));
    device.run(staged, given.empty() ? nullptr : given.data() + from, task);
    host.parallel_for(to - from, 16, [&](Index begin, Index end) {
      for (Index number = begin; number < end; ++number) {
        const Index gene = from + number;
        const auto g = static_cast<std::size_t>(gene);
        StagedGene& own = *staged[static_cast<std::size_t>(number)];
        const bool has_counts = own.structure.structure() != FitStatus::no_counts;
        const GeneOutcome& outcome = device.outcome(number);
        const double* const numbers = device.numbers(number);
        // A gene without counts has the dispersion that is given, or none.
        const double phi = has_counts || !given.empty() ? numbers[GeneNumbers::dispersion] : 0.0;
        if (first_pass) {
          results.mean[gene] = own.structure.total() / static_cast<double>(groups.used());
          results.gene_wise_dispersion[gene] = phi;
          results.dispersion_precision[gene] = has_counts ? numbers[GeneNumbers::precision] : 0.0;
          results.dispersion_status[g] = has_counts      ? static_cast<DispersionStatus>(outcome.status)
                                         : given.empty() ? DispersionStatus::none
                                                         : DispersionStatus::given;
        } else if (has_counts) {
          results.dispersion_status[g] = DispersionStatus::shrunken;
        }
        results.iterations[g] += outcome.iterations;
        if (task.finish) store_gene(results, options, gene, own, phi, device, number);
      }
    });
  };

  constexpr Index least_batch = 2048;  // enough to keep a large device busy
  const Index block = std::max(options.block_genes, least_batch);
  const auto pass = [&](bool reports) {
    Index done_before = 0;
    for_each_gene(host, counts, groups, block, stage, [&](Index done) {
      run_batch(done_before, done);
      done_before = done;
      if (reports && options.progress) options.progress(done, genes);
      check_cancellation(done);
    });
  };
  pass(!shrinks);
  if (!shrinks) return results;
  given = std::get<Shrunken>(options.dispersion)
              .shrink({results.mean.view(), results.gene_wise_dispersion.view(), results.dispersion_precision.view()});
  check_dispersion(Fixed{given}, genes);
  first_pass = false;
  task.estimate = GeneTask::given;
  task.finish = true;
  pass(true);
  return results;
}

}  // namespace detail

/// fit() on the device: the same arguments, the same results up to rounding, on the host. Throws as fit() does, and
/// ValueError where options.inspect is given. Genes are held in memory in blocks of at least 2,048. Waits for the
/// device.
template <GeneBlockSource Source>
FitResults fit(CudaContext& context, Source&& counts, const Design& design, const FitOptions& options = {}) {
  if constexpr (requires { counts.visit([](auto&) {}); }) {
    return counts.visit([&](auto& source) { return detail::fit_source(context, source, design, options); });
  } else {
    return detail::fit_source(context, counts, design, options);
  }
}
template <class Counts>
requires(!GeneBlockSource<const Counts&> && !GeneBlockSource<Counts>) FitResults
    fit(CudaContext& context, const Counts& counts, const Design& design, const FitOptions& options = {},
        Orientation orientation = Orientation::genes_by_cells) {
  auto source = gene_blocks(counts, orientation);
  return fit(context, source, design, options);
}

}  // namespace eosin::glm
