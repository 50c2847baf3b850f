#pragma once

// The negative binomial GLM of one gene by a block of 128 threads: the mathematics of gene_solver.hpp, and the text of
// profile_maximum.hpp for the dispersion. A block takes its gene from the first evaluation to the standard errors, all
// threads taking every decision with the same numbers (sums over the block are the same in all of them), so that no
// gene waits for another and nothing is sorted out between rounds: a block that is done makes room for the next one.
//
// Who owns what in an evaluation:
//   groups     a thread each: exponential, table look-up, score and information
//   nonzeros   eight lanes per group, which stride over its counts (neighbours in memory); groups of more than some
//              thousand counts, the whole block, one after the other
//   systems    arrow_factor.cuh
// Sums of a group and over groups are added in an order that the gene alone determines.
//
// Memory: 17 numbers and 5 + factors integers per group, 2 types columns + 2 columns^2 numbers and some more per type
// and column, in shared memory where they fit in 96 KiB (some 45 KiB for 240 groups), else in a piece of device memory
// per block. 128 registers a thread: four blocks on a multiprocessor. Functions that are called, not inlined, keep it
// there; what they do not save themselves is kept on the stack by the code that decides, once per evaluation.
//
// Traffic of an evaluation: 8 bytes per nonzero, in order, and its size factor, 8 bytes out of 8 MB per million cells,
// which stay in the L2 cache (a sector of 32 bytes each where fewer than one cell in four has a count); 24 operations
// per nonzero, with one reciprocal. 20,000 genes x 10^6 cells with 3 % nonzeros, 6e8 of them: 4.8 GB from memory, 19 GB
// from L2 and 1.4e10 operations. Predicted for an H200, ten passes (seven evaluations that read counts, two passes of
// load(), one of the likelihood): 10 x 4.8 GB at 4.8 TB/s = 10 ms from memory, 10 x 19 GB at some 5 TB/s = 38 ms from
// L2, 10 x 1.4e10 at 34e12/s, half of it used at best, 8 ms. Groups and systems of a gene are bound by latency, some 60
// microseconds for each of ten evaluations; with 528 blocks at work, 23 ms. Together 60 to 80 ms.

#include <eosin/glm/arrow_factor.cuh>
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/gene_blocks.hpp>
#include <eosin/glm/group_sums.cuh>
#include <eosin/glm/profile_maximum.hpp>
#include <eosin/math/exponential.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

namespace eosin::glm {

/// What all genes share, in device memory.
struct DeviceDesign {
  int groups, types, factors, columns;
  const int* group_begin;       ///< [groups + 1], positions
  const int* group_column;      ///< [groups x factors]
  const int* column_begin;      ///< [factors + 1]
  const double* depth;          ///< size factors by position
  const double* level_weights;  ///< [columns]
  DeviceGroupSums sums;
};

/// A record of integers per gene: what the processor found by the sums of the counts alone.
struct GeneRecord {
  enum Field { active, present_types, free, last_above, last_equal, large, large_begin, header };
  Index groups, types, columns;

  static constexpr Index tallies = static_cast<Index>(CountSums::split) + 1;
  EOSIN_HOST_DEVICE Index active_groups() const { return header; }                   ///< [groups]
  EOSIN_HOST_DEVICE Index type_range() const { return active_groups() + groups; }    ///< [types + 1]
  EOSIN_HOST_DEVICE Index active_types() const { return type_range() + types + 1; }  ///< [types]
  EOSIN_HOST_DEVICE Index slots() const { return active_types() + types; }           ///< [columns]
  EOSIN_HOST_DEVICE Index part_of_type() const { return slots() + columns; }         ///< [types], by active type
  EOSIN_HOST_DEVICE Index part_of_column() const { return part_of_type() + types; }  ///< [columns], -1 without counts
  EOSIN_HOST_DEVICE Index above() const { return part_of_column() + columns; }       ///< [tallies]
  EOSIN_HOST_DEVICE Index equal() const { return above() + tallies; }                ///< [tallies]
  EOSIN_HOST_DEVICE Index size() const { return equal() + tallies; }
};

/// A record of numbers per gene: the coefficients go in and out, the rest comes out.
struct GeneNumbers {
  enum Field { precision, dispersion, log_likelihood, deviance, header };
  Index types, columns;

  EOSIN_HOST_DEVICE Index type_effects() const { return header; }                         ///< [types], by active type
  EOSIN_HOST_DEVICE Index column_effects() const { return type_effects() + types; }       ///< [columns]
  EOSIN_HOST_DEVICE Index type_errors() const { return column_effects() + columns; }      ///< [types], by active type
  EOSIN_HOST_DEVICE Index column_errors() const { return type_errors() + types; }         ///< [columns]
  EOSIN_HOST_DEVICE Index prototype_errors() const { return column_errors() + columns; }  ///< [types], by active type
  EOSIN_HOST_DEVICE Index size() const { return prototype_errors() + types; }
};

/// How a gene ended.
struct GeneOutcome {
  int iterations;
  int converged;
  int status;  ///< a DispersionStatus
  int has_errors;
};

/// Genes of a launch. All pointers are to device memory.
struct DeviceGenes {
  Index genes;
  const int* order;            ///< [genes], the longest first
  const Index* entries_begin;  ///< [genes + 1]
  const CellCount* entries;    ///< by position
  const int* integers;         ///< [genes x GeneRecord::size]
  double* numbers;             ///< [genes x GeneNumbers::size]
  GeneOutcome* outcomes;       ///< [genes]
  const double *large_counts, *large_times;
};

/// What is asked for.
struct GeneTask {
  enum Estimate { given, profile, plugin } estimate = given;  ///< the dispersion; given in GeneNumbers::dispersion
  double cox_reid_factor = 0.0, largest = 1e8;
  bool finish = true;  ///< coefficients at the dispersion, likelihoods
  bool standard_errors = true;
  int max_iterations = 100;
};

namespace kernels {

/// Where the arrays of a gene lie in the memory of its block.
struct GeneLayout {
  enum Row {
    eta,
    mean,
    s,
    p,
    t,
    v,
    ysr,
    ys2r2,
    score,
    information,
    expected,
    pull,
    step_eta,
    follow_eta,
    total,
    weighted,
    squared,
    rows
  };
  enum TypeRow { beta, kept_beta, type_step, type_follow, type_rows };
  enum ColumnRow { gamma, kept_gamma, column_step, column_follow, column_rows };

  EOSIN_HOST_DEVICE static Index doubles(Index groups, Index types, Index columns) {
    return rows * groups + type_rows * types + column_rows * columns + gene_warps * columns + 2 * GeneRecord::tallies +
           BlockArrowFactor::doubles(types, columns);
  }
  static Index integers(Index groups, Index types, Index factors, Index columns) {
    return (5 + factors) * groups + 3 * types + 1 + 3 * columns + BlockArrowFactor::integers(types);
  }
  static Index bytes(Index groups, Index types, Index factors, Index columns) {
    return doubles(groups, types, columns) * static_cast<Index>(sizeof(double)) +
           (integers(groups, types, factors, columns) + 31) / 32 * 32 * static_cast<Index>(sizeof(int));
  }
};

__device__ __forceinline__ double infinite() {
  return std::numeric_limits<double>::infinity();
}

/// A gene in the hands of a block. Every thread has the object and calls everything.
class BlockGene {
 public:
  using Layout = GeneLayout;

  __device__ BlockGene(const DeviceDesign& design, double* memory, GeneScratch& scratch, int max_iterations)
      : design_(&design), scratch_(&scratch), max_iterations_(max_iterations) {
    const int groups = design.groups, types = design.types, columns = design.columns;
    numbers_ = memory;
    type_numbers_ = numbers_ + Layout::rows * groups;
    column_numbers_ = type_numbers_ + Layout::type_rows * types;
    shares_ = column_numbers_ + Layout::column_rows * columns;
    above_ = shares_ + gene_warps * columns;
    equal_ = above_ + GeneRecord::tallies;
    double* const rest = equal_ + GeneRecord::tallies;
    int* integers = reinterpret_cast<int*>(memory + Layout::doubles(groups, types, columns));
    const auto take = [&](int n) {
      int* const result = integers;
      integers += n;
      return result;
    };
    active_ = take(groups);
    begin_ = take(groups);
    end_ = take(groups);
    type_ = take(groups);
    wide_ = take(groups);
    column_ = take(groups * design.factors);
    type_range_ = take(types + 1);
    part_of_type_ = take(types);
    slots_ = take(columns);
    column_of_slot_ = take(columns);
    part_of_column_ = take(columns);
    factor_.types = 0;
    factor_.columns = columns;
    factor_.factors = design.factors;
    factor_.free = 0;
    factor_.type_range = type_range_;
    factor_.column = column_;
    factor_.slots = slots_;
    factor_.column_of_slot = column_of_slot_;
    factor_.place(rest, take(types), types);
  }

  /// Takes a gene; the coefficients start where its numbers say.
  EOSIN_GENE_STEP void load(const DeviceGenes& genes, Index gene) {
    const GeneRecord record{design_->groups, design_->types, design_->columns};
    const GeneNumbers layout{design_->types, design_->columns};
    const int* const in = genes.integers + gene * record.size();
    const double* const start = genes.numbers + gene * layout.size();
    entries_ = genes.entries + genes.entries_begin[gene];
    const int entries = static_cast<int>(genes.entries_begin[gene + 1] - genes.entries_begin[gene]);
    active_count_ = in[GeneRecord::active];
    factor_.types = in[GeneRecord::present_types];
    factor_.free = in[GeneRecord::free];
    last_above_ = in[GeneRecord::last_above];
    last_equal_ = in[GeneRecord::last_equal];
    large_ = in[GeneRecord::large];
    large_counts_ = genes.large_counts + in[GeneRecord::large_begin];
    large_times_ = genes.large_times + in[GeneRecord::large_begin];
    iterations_ = 0;
    converged_ = true;
    const int factors = design_->factors;
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const int k = in[record.active_groups() + j];
      active_[j] = k;
      begin_[j] = first_at(entries, design_->group_begin[k]);
      end_[j] = first_at(entries, design_->group_begin[k + 1]);
      for (int f = 0; f < factors; ++f) column_[j * factors + f] = design_->group_column[k * factors + f];
    }
    for (int i = gene_thread(); i <= factor_.types; i += gene_threads) {
      type_range_[i] = in[record.type_range() + i];
      if (i == factor_.types) continue;
      part_of_type_[i] = in[record.part_of_type() + i];
      of_types(Layout::beta)[i] = start[layout.type_effects() + i];
      for (int j = in [record.type_range() + i]; j < in[record.type_range() + i + 1]; ++j) type_[j] = i;
    }
    for (int c = gene_thread(); c < design_->columns; c += gene_threads) {
      slots_[c] = in[record.slots() + c];
      if (slots_[c] >= 0) column_of_slot_[slots_[c]] = c;
      part_of_column_[c] = in[record.part_of_column() + c];
      of_columns(Layout::gamma)[c] = start[layout.column_effects() + c];
    }
    for (int j = gene_thread(); j < static_cast<int>(GeneRecord::tallies); j += gene_threads) {
      above_[j] = in[record.above() + j];
      equal_[j] = in[record.equal() + j];
    }
    __syncthreads();
    // The same in every thread, by few groups as a rule.
    wide_count_ = 0;
    for (int j = 0; j < active_count_; ++j)
      if (end_[j] - begin_[j] > widest_for_eight) {
        if (gene_thread() == 0) wide_[wide_count_] = j;
        ++wide_count_;
      }
    __syncthreads();
    sum_counts();
  }

  __device__ int iterations() const { return iterations_; }
  __device__ bool converged() const { return converged_; }

  /// The log-likelihood, and the deviance: see GeneSolver.
  EOSIN_GENE_STEP void likelihoods(double phi, double& log_likelihood, double& deviance) {
    const double linear = linear_part(phi);
    double sums[3] = {0.0, 0.0, 0.0};  // log rising factorials, log factorials, the saturated model
    add_rising(phi, sums[0]);
    const auto add = [&](double y, double times) {
      const double x = phi * y;
      sums[1] += times * detail::log_factorial(y);
      sums[2] += times * (y * (math::log(y) - math::log1p(x) - detail::log1p_ratio(x)));
    };
    for (int y = 1 + gene_thread(); y <= last_equal_; y += gene_threads) add(y, equal_[y]);
    for (int i = gene_thread(); i < large_; i += gene_threads) add(large_counts_[i], large_times_[i]);
    add_over_block(sums, *scratch_);
    log_likelihood = sums[0] - sums[1] + linear;
    deviance = 2.0 * (sums[2] - linear);
    deviance = deviance > 0.0 ? deviance : 0.0;
  }

  /// Coefficients, and standard errors if they are wanted and can be had: whether they are.
  EOSIN_GENE_STEP bool store(const DeviceGenes& genes, Index gene, bool with_errors) {
    const GeneNumbers layout{design_->types, design_->columns};
    double* const out = genes.numbers + gene * layout.size();
    const int types = factor_.types, columns = design_->columns;
    for (int i = gene_thread(); i < types; i += gene_threads)
      out[layout.type_effects() + i] = of_types(Layout::beta)[i];
    for (int c = gene_thread(); c < columns; c += gene_threads)
      out[layout.column_effects() + c] = of_columns(Layout::gamma)[c];
    if (!with_errors || !converged_ || !factor_.factor(row(Layout::information))) return false;
    factor_.invert();
    for (int i = gene_thread(); i < types; i += gene_threads)
      out[layout.type_errors() + i] = std::sqrt(factor_.variance_of_type(i));
    for (int c = gene_thread(); c < columns; c += gene_threads)
      out[layout.column_errors() + c] = std::sqrt(factor_.variance_of_column(c));
    double* const shares = shares_ + gene_thread() / 32 * columns;
    for (int i = gene_thread() / 32; i < types; i += gene_warps) {
      find_shares(i, shares);
      const double variance = factor_.variance_of_mixture(i, shares);
      if (gene_thread() % 32 == 0) out[layout.prototype_errors() + i] = std::sqrt(variance);
      __syncwarp();
    }
    return true;
  }

  // ---- What ProfileMaximum asks for

  __device__ bool has_counts() const { return true; }
  __device__ void set_converged(bool converged) { converged_ = converged; }

  /// Fills the arrays by group at phi and the present coefficients.
  EOSIN_GENE_STEP void evaluate(double phi) {
    ++iterations_;
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const double eta = predictor(j, of_types(Layout::beta), of_columns(Layout::gamma)), mean = math::exp(eta);
      row(Layout::eta)[j] = eta;
      row(Layout::mean)[j] = mean;
      GroupSumValues sums;
      if (phi == 0.0) {
        // r = 1: everything is known from load().
        const auto& table = design_->sums.tables[active_[j]];
        sums = {table.sum1, table.sum1, 0.5 * table.sum2, table.sum2};
        row(Layout::score)[j] = row(Layout::total)[j];
        row(Layout::ysr)[j] = row(Layout::pull)[j] = row(Layout::weighted)[j];
        row(Layout::ys2r2)[j] = row(Layout::squared)[j];
      } else {
        sums = design_->sums.values(active_[j], phi * mean);
      }
      row(Layout::s)[j] = sums.s;
      row(Layout::p)[j] = sums.p;
      row(Layout::t)[j] = sums.t;
      row(Layout::v)[j] = sums.v;
    }
    __syncthreads();
    if (phi != 0.0) {
      // y r, y s r, y s r^2, y s^2 r^2
      const double* const means = row(Layout::mean);
      double* const out[4] = {row(Layout::score), row(Layout::ysr), row(Layout::pull), row(Layout::ys2r2)};
      sum_by_group(out, [=](int j, double y, double depth, double(&sum)[4]) {
        const double r = 1.0 / (phi * means[j] * depth + 1.0), sr = depth * r, w = y * sr;
        sum[0] += y * r;
        sum[1] += w;
        sum[2] += w * r;
        sum[3] += w * sr;
      });
    }
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const double mean = row(Layout::mean)[j], expected = mean * row(Layout::s)[j], ysr2 = row(Layout::pull)[j];
      row(Layout::expected)[j] = expected;
      row(Layout::score)[j] -= expected;
      // r (1 - r) = a s r^2
      row(Layout::information)[j] = mean * row(Layout::p)[j] + phi * mean * ysr2;
      row(Layout::pull)[j] = mean * (mean * row(Layout::v)[j] - ysr2);
    }
    __syncthreads();
  }

  /// Newton's method until the step is below `enough`; that last step is taken too.
  EOSIN_GENE_STEP void solve_to(double phi, double enough) {
    converged_ = false;
    for (int i = 0; i < max_iterations_ && !converged_; ++i) {
      evaluate(phi);
      if (!factor_.factor(row(Layout::information))) return;
      const double* const right[1] = {row(Layout::score)};
      double* const types[1] = {of_types(Layout::type_step)};
      double* const columns[1] = {of_columns(Layout::column_step)};
      factor_.solve(right, types, columns);
      double largest[1] = {0.0};
      for (int j = gene_thread(); j < active_count_; j += gene_threads)
        note_size(predictor(j, types[0], columns[0]), largest[0]);
      largest_over_block(largest, *scratch_);
      if (!std::isfinite(largest[0])) return;
      add_newton_step(largest[0]);
      converged_ = largest[0] < enough;
    }
  }
  __device__ void solve(double phi) { solve_to(phi, last_step); }

  __device__ double dispersion_score(double phi, double cox_reid_factor) {
    solve_to(phi, last_step);
    return profile(phi, cox_reid_factor).score;
  }

  /// Derivatives in phi: see GeneSolver::profile.
  EOSIN_GENE_STEP DispersionProfile profile(double phi, double cox_reid_factor) {
    if (!factor_.factor(row(Layout::information))) {
      double sums[2] = {0.0, 0.0};
      add_count_derivatives(phi, sums[0], sums[1]);
      add_over_block(sums, *scratch_);
      return {sums[0], sums[1], 0.0, infinite()};
    }
    const double* const right[2] = {row(Layout::score), row(Layout::pull)};
    double* const types[2] = {of_types(Layout::type_step), of_types(Layout::type_follow)};
    double* const columns[2] = {of_columns(Layout::column_step), of_columns(Layout::column_follow)};
    factor_.solve(right, types, columns);
    double largest[1] = {0.0};
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      row(Layout::step_eta)[j] = predictor(j, types[0], columns[0]);
      row(Layout::follow_eta)[j] = predictor(j, types[1], columns[1]);
      note_size(row(Layout::step_eta)[j], largest[0]);
    }
    largest_over_block(largest, *scratch_);
    DispersionProfile result = by_means(phi, true);
    result.largest = largest[0];
    if (cox_reid_factor == 0.0) return result;
    // At phi = 0 the observed information, which is factored, is the expected one.
    if (phi != 0.0 && !factor_.factor(row(Layout::expected))) {
      result.largest = infinite();
      return result;
    }
    adjust(result, cox_reid_factor, true);
    return result;
  }
  /// The same with all means fixed.
  EOSIN_GENE_STEP DispersionProfile plugin(double phi, double cox_reid_factor) {
    evaluate(phi);
    DispersionProfile result = by_means(phi, false);
    if (cox_reid_factor != 0.0 && factor_.factor(row(Layout::expected))) adjust(result, cox_reid_factor, false);
    return result;
  }

  __device__ void add_newton_step(double largest) {
    const double step = largest <= full_step ? 1.0 : std::log1p(largest) / largest;
    add_step(step, of_types(Layout::type_step), of_columns(Layout::column_step));
  }
  /// The coefficients follow a change of phi; less far where a linear predictor would change by more than a full step.
  EOSIN_GENE_STEP void add_follow(double follow) {
    double largest[1] = {0.0};
    for (int j = gene_thread(); j < active_count_; j += gene_threads)
      note_size(follow * row(Layout::follow_eta)[j], largest[0]);
    largest_over_block(largest, *scratch_);
    if (largest[0] > full_step) follow *= full_step / largest[0];
    add_step(follow, of_types(Layout::type_follow), of_columns(Layout::column_follow));
  }

  __device__ double adjusted_likelihood(double phi, double cox_reid_factor) {
    solve(phi);
    double value, deviance;
    likelihoods(phi, value, deviance);
    if (cox_reid_factor != 0.0 && factor_.factor(row(Layout::expected))) {
      double sum[1] = {factor_.part_of_log_determinant()};
      add_over_block(sum, *scratch_);
      value -= 0.5 * cox_reid_factor * sum[0];
    }
    return value;
  }

  /// Estimate from the second moment about the present (Poisson) means: sum[(y - mu)^2 - mu] / sum mu^2.
  EOSIN_GENE_STEP double moment_dispersion() {
    double sums[2] = {0.0, 0.0};
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const auto& table = design_->sums.tables[active_[j]];
      const double mean = row(Layout::mean)[j], square = mean * mean * table.sum2;
      sums[0] += square - mean * (2.0 * row(Layout::weighted)[j] + table.sum1);
      sums[1] += square;
    }
    add_over_block(sums, *scratch_);
    return sums[1] > 0.0 ? (squares_ + sums[0]) / sums[1] : 0.0;
  }

  __device__ void remember() {
    copy(of_types(Layout::beta), of_types(Layout::kept_beta), factor_.types);
    copy(of_columns(Layout::gamma), of_columns(Layout::kept_gamma), design_->columns);
    __syncthreads();
  }
  __device__ void recall() {
    copy(of_types(Layout::kept_beta), of_types(Layout::beta), factor_.types);
    copy(of_columns(Layout::kept_gamma), of_columns(Layout::gamma), design_->columns);
    __syncthreads();
  }

 private:
  static constexpr double full_step = 0.7;
  static constexpr double last_step = 1e-9;
  static constexpr int widest_for_eight = 2048;

  __device__ double* row(typename Layout::Row which) const {
    return numbers_ + static_cast<int>(which) * design_->groups;
  }
  __device__ double* of_types(typename Layout::TypeRow which) const {
    return type_numbers_ + static_cast<int>(which) * design_->types;
  }
  __device__ double* of_columns(typename Layout::ColumnRow which) const {
    return column_numbers_ + static_cast<int>(which) * design_->columns;
  }
  __device__ static void copy(const double* from, double* to, int n) {
    for (int i = gene_thread(); i < n; i += gene_threads) to[i] = from[i];
  }

  /// The first entry at a position or beyond.
  __device__ int first_at(int entries, int position) const {
    int low = 0, high = entries;
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (static_cast<int>(entries_[middle].position) < position) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  __device__ double predictor(int j, const double* types, const double* columns) const {
    const int factors = design_->factors;
    double sum = types[type_[j]];
    for (int f = 0; f < factors; ++f) sum += columns[column_[j * factors + f]];
    return sum;
  }
  /// What is not finite counts as infinite.
  __device__ static void note_size(double change, double& largest) {
    double size = std::abs(change);
    if (!std::isfinite(size)) size = infinite();
    if (size > largest) largest = size;
  }
  __device__ void add_step(double step, const double* types, const double* columns) {
    for (int i = gene_thread(); i < factor_.types; i += gene_threads) of_types(Layout::beta)[i] += step * types[i];
    for (int c = gene_thread(); c < design_->columns; c += gene_threads)
      of_columns(Layout::gamma)[c] += step * columns[c];
    __syncthreads();
  }

  /// out[i][j] = sum of term i over the counts of group j: term(j, y, size factor, sums) adds one count's. All threads
  /// see the result.
  template <int Count, class Term>
  __device__ __forceinline__ void sum_by_group(double* const (&out)[Count], const Term& term) {
    const double* const depth = design_->depth;
    const int lane = gene_thread() % 8;
    // Loops of a warp as a whole: its four groups at once.
    for (int first = gene_thread() / 32 * 4; first < active_count_; first += gene_warps * 4) {
      const int j = first + gene_thread() % 32 / 8;
      double sum[Count] = {};
      const bool own = j < active_count_ && end_[j] - begin_[j] <= widest_for_eight;
      if (own) {
        const int end = end_[j];
        for (int e = begin_[j] + lane; e < end; e += 8) {
          const CellCount entry = entries_[e];
          term(j, static_cast<double>(entry.count), depth[entry.position], sum);
        }
      }
      for (int i = 0; i < Count; ++i)
        for (int step = 4; step > 0; step /= 2) sum[i] += __shfl_xor_sync(cuda::full_warp, sum[i], step);
      if (own && lane == 0)
        for (int i = 0; i < Count; ++i) out[i][j] = sum[i];
    }
    for (int w = 0; w < wide_count_; ++w) {
      const int j = wide_[w], end = end_[j];
      double sum[Count] = {};
      for (int e = begin_[j] + gene_thread(); e < end; e += gene_threads) {
        const CellCount entry = entries_[e];
        term(j, static_cast<double>(entry.count), depth[entry.position], sum);
      }
      add_over_block(sum, *scratch_);
      if (gene_thread() == 0)
        for (int i = 0; i < Count; ++i) out[i][j] = sum[i];
    }
    __syncthreads();
  }

  /// Sums of y, y s, y s^2 by group; of y^2 and y log s.
  __device__ void sum_counts() {
    {
      double* const out[3] = {row(Layout::total), row(Layout::weighted), row(Layout::squared)};
      sum_by_group(out, [](int, double y, double depth, double(&sum)[3]) {
        sum[0] += y;
        sum[1] += y * depth;
        sum[2] += y * depth * depth;
      });
    }
    double* const out[2] = {row(Layout::s), row(Layout::p)};
    sum_by_group(out, [](int, double y, double depth, double(&sum)[2]) {
      sum[0] += y * y;
      sum[1] += y * math::log(depth);
    });
    double sums[2] = {0.0, 0.0};
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      sums[0] += out[0][j];
      sums[1] += out[1][j];
    }
    add_over_block(sums, *scratch_);
    squares_ = sums[0];
    log_depths_ = sums[1];
  }

  /// This thread's part of sum_j N_j log(1 + phi j).
  __device__ void add_rising(double phi, double& sum) const {
    for (int j = gene_thread(); j <= last_above_; j += gene_threads) sum += above_[j] * math::log1p(phi * j);
    if (large_ == 0) return;
    const double at_split = detail::log_terms(static_cast<double>(CountSums::split), phi);
    for (int i = gene_thread(); i < large_; i += gene_threads)
      sum += large_times_[i] * (detail::log_terms(large_counts_[i], phi) - at_split);
  }
  /// This thread's part of its first and second derivative.
  __device__ void add_count_derivatives(double phi, double& first, double& second) const {
    for (int j = gene_thread(); j <= last_above_; j += gene_threads) {
      const double ratio = j / (phi * j + 1.0);
      first += above_[j] * ratio;
      second -= above_[j] * ratio * ratio;
    }
    if (large_ == 0) return;
    const auto at_split = detail::ratio_terms(static_cast<double>(CountSums::split), phi);
    for (int i = gene_thread(); i < large_; i += gene_threads) {
      const auto terms = detail::ratio_terms(large_counts_[i], phi);
      first += large_times_[i] * (terms.first - at_split.first);
      second -= large_times_[i] * (terms.second - at_split.second);
    }
  }

  /// Score in phi and its slope, by counts and means; these move by step_eta and, with phi, by follow_eta, or not.
  __device__ DispersionProfile by_means(double phi, bool moving) {
    double sums[2] = {0.0, 0.0};
    add_count_derivatives(phi, sums[0], sums[1]);
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const auto& table = design_->sums.tables[active_[j]];
      const double mean = row(Layout::mean)[j], a = phi * mean, t = row(Layout::t)[j], pull = row(Layout::pull)[j];
      const double slope =
          a * table.sum3 <= 1e-8 * table.sum2 ? (-2.0 / 3.0) * table.sum3 : (row(Layout::v)[j] - 2.0 * t) / a;
      sums[0] += mean * (mean * t - row(Layout::ysr)[j]);
      sums[1] += mean * mean * (row(Layout::ys2r2)[j] + mean * slope);
      if (moving) {
        sums[0] += pull * row(Layout::step_eta)[j];
        sums[1] += pull * row(Layout::follow_eta)[j];
      }
    }
    add_over_block(sums, *scratch_);
    return {sums[0], sums[1], 0.0, 0.0};
  }
  /// Cox and Reid's term, the expected information being factored.
  __device__ void adjust(DispersionProfile& result, double cox_reid_factor, bool moving) {
    factor_.invert();
    double trace[1] = {0.0};
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const double mean = row(Layout::mean)[j], follow = moving ? row(Layout::follow_eta)[j] : 0.0;
      trace[0] +=
          factor_.variance_of_group(j, type_[j]) * mean * (row(Layout::p)[j] * follow - mean * row(Layout::v)[j]);
    }
    add_over_block(trace, *scratch_);
    result.adjustment = -0.5 * cox_reid_factor * trace[0];
    result.score += result.adjustment;
  }

  /// sum y [log mu - log(1 + phi mu)] - (1/phi) sum log(1 + phi mu) at the arrays that evaluate(phi) left.
  __device__ double linear_part(double phi) {
    double* const logs[1] = {row(Layout::step_eta)};
    const double* const means = row(Layout::mean);
    if (phi != 0.0)
      sum_by_group(logs, [=](int j, double y, double depth, double(&sum)[1]) {
        sum[0] += y * math::log1p(phi * means[j] * depth);
      });
    double sum[1] = {0.0};
    for (int j = gene_thread(); j < active_count_; j += gene_threads) {
      const double mean = means[j];
      sum[0] += row(Layout::total)[j] * row(Layout::eta)[j] -
                mean * (row(Layout::s)[j] + phi * mean * row(Layout::t)[j]) - (phi != 0.0 ? logs[0][j] : 0.0);
    }
    add_over_block(sum, *scratch_);
    return log_depths_ + sum[0];
  }

  /// Shares of the levels in the prototype of type i, [columns], by a warp: weight times exp(gamma), scaled to 1 over
  /// the levels of a factor, those that hang together with the type.
  __device__ void find_shares(int i, double* shares) {
    const int lane = gene_thread() % 32;
    const double* const gamma = of_columns(Layout::gamma);
    for (int f = 0; f < design_->factors; ++f) {
      const int from = design_->column_begin[f], to = design_->column_begin[f + 1];
      double largest = -infinite();
      for (int c = from + lane; c < to; c += 32)
        if (counted(i, c) && gamma[c] > largest) largest = gamma[c];
      largest = cuda::warp_max(largest);
      double sum = 0.0;
      for (int c = from + lane; c < to; c += 32) {
        shares[c] = counted(i, c) ? design_->level_weights[c] * std::exp(gamma[c] - largest) : 0.0;
        sum += shares[c];
      }
      sum = cuda::warp_sum(sum);
      for (int c = from + lane; c < to; c += 32) shares[c] /= sum;
    }
    __syncwarp();
  }
  __device__ bool counted(int i, int c) const {
    return design_->level_weights[c] != 0.0 && part_of_column_[c] == part_of_type_[i];
  }

  const DeviceDesign* design_;
  GeneScratch* scratch_;
  int max_iterations_;
  double *numbers_, *type_numbers_, *column_numbers_, *shares_, *above_, *equal_;
  int *active_, *begin_, *end_, *type_, *wide_, *column_;
  int *type_range_, *part_of_type_, *slots_, *column_of_slot_, *part_of_column_;
  BlockArrowFactor factor_;

  const CellCount* entries_ = nullptr;
  const double *large_counts_ = nullptr, *large_times_ = nullptr;
  int active_count_ = 0, wide_count_ = 0, last_above_ = 0, last_equal_ = 0, large_ = 0;
  double squares_ = 0.0, log_depths_ = 0.0;
  int iterations_ = 0;
  bool converged_ = true;
};

/// Blocks take the genes in their order. The memory of a block is its dynamic shared memory, or `bytes` of `memory`.
template <bool Shared>
__global__ void __launch_bounds__(gene_threads)
    fit_genes(const DeviceDesign* design, DeviceGenes genes, GeneTask task, unsigned char* memory, Index bytes) {
  EOSIN_SHARED(GeneScratch, scratch, [1]);
  double* numbers;
  if constexpr (Shared) {
    EOSIN_DYNAMIC_SHARED(double, own);
    numbers = own;
  } else {
    numbers = reinterpret_cast<double*>(memory + static_cast<Index>(blockIdx.x) * bytes);
  }
  const GeneNumbers layout{design->types, design->columns};
  for (Index turn = blockIdx.x; turn < genes.genes; turn += gridDim.x) {
    const Index gene = genes.order[turn];
    double* const out = genes.numbers + gene * layout.size();
    BlockGene solver(*design, numbers, scratch[0], task.max_iterations);
    solver.load(genes, gene);
    DispersionEstimate estimate;
    if (task.estimate == GeneTask::given) {
      estimate = {out[GeneNumbers::dispersion], DispersionStatus::given, 0.0};
    } else {
      ProfileMaximum<BlockGene> maximum(solver);
      estimate = task.estimate == GeneTask::profile ? maximum.maximise(task.cox_reid_factor, task.largest)
                                                    : maximum.maximise_plugin(task.cox_reid_factor, task.largest);
    }
    GeneOutcome outcome{0, 0, static_cast<int>(estimate.status), 0};
    double log_likelihood = 0.0, deviance = 0.0;
    if (task.finish) {
      solver.solve(estimate.phi);
      solver.likelihoods(estimate.phi, log_likelihood, deviance);
      outcome.has_errors = solver.store(genes, gene, task.standard_errors);
    }
    __syncthreads();
    if (gene_thread() == 0) {
      out[GeneNumbers::dispersion] = estimate.phi;
      out[GeneNumbers::precision] = estimate.precision;
      out[GeneNumbers::log_likelihood] = log_likelihood;
      out[GeneNumbers::deviance] = deviance;
      outcome.iterations = solver.iterations();
      outcome.converged = solver.converged();
      genes.outcomes[gene] = outcome;
    }
  }
}

}  // namespace kernels

}  // namespace eosin::glm
