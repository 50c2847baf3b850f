#pragma once

// The negative binomial GLM of one gene with continuous covariates and an offset per cell: the mathematics of
// gene_solver.hpp with every sum over all cells, because here each cell has its own linear predictor. With
// r = 1 / (1 + phi mu), per cell:
//
//   score (y - mu) r     observed information mu r^2 (1 + phi y)     expected W = mu r
//   in phi: sum_j N_j j / (1 + phi j) - sum y mu r + sum mu^2 T(phi mu),  T(x) = [log(1+x) - x/(1+x)] / x^2
//   X'IX d beta/d phi = X' [mu r^2 (mu - y)],  dW/d phi = -mu^2 r^2 + mu r^2 x'd beta/d phi
//
// Newton's step is shortened by log(1 + d) / d, d the largest change of a cell's linear predictor. Passes over the
// cells are vectorised; the information is gathered per group. Cost of a step: O(cells continuous^2 + columns^3).
// Derivation: docs/derivations/nb_glm.md, docs/derivations/dense_glm.md.

#include <eosin/glm/components.hpp>
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/dense_design.hpp>
#include <eosin/glm/dense_factor.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/glm/separation.hpp>
#include <eosin/math/exponential.hpp>
#include <eosin/math/logarithm.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace eosin::glm {

/// Fits one gene after the other; scratch is kept from gene to gene. One object per thread.
class DenseSolver {
 public:
  /// `cells` must outlive the object.
  DenseSolver(const DenseCells& cells, int max_iterations) : cells_(&cells), max_iterations_(max_iterations) {
    const auto places = static_cast<std::size_t>(cells.places());
    y_.assign(places, 0.0);
    offset_.assign(cells.log_size_factors(), cells.log_size_factors() + places);
    mu_.resize(places);
    chunk_a_.resize(chunk);
    chunk_b_.resize(chunk);
    value_.resize(at(cells.design().columns()));
    step_.resize(value_.size());
    total_.resize(value_.size());
    slots_.resize(value_.size());
    group_total_.resize(at(cells.groups()));
  }

  /// Takes a gene: its cells with a count, the counts, and log offsets [cells] beside the size factors (empty: none).
  /// ValueError where a cell of size factor 0 has a count or an offset is not finite.
  void load(Index gene, VectorView<const Index> cell, VectorView<const double> counts,
            VectorView<const double> log_offsets = {}) {
    for (const Index place : nonzero_) y_[at(place)] = 0.0;
    nonzero_.clear();
    sorted_.clear();
    log_factorials_ = 0.0;
    for (Index e = 0; e < cell.size(); ++e) {
      const Index place = cells_->place_of(cell[e]);
      if (place == DenseCells::without_depth)
        throw ValueError("fit_dense: cell " + std::to_string(cell[e]) +
                         " (from 0) has size factor 0 but a count of gene " + std::to_string(gene));
      if (place < 0) continue;
      nonzero_.push_back(place);
      y_[at(place)] = counts[e];
      sorted_.push_back(counts[e]);
      log_factorials_ += detail::log_factorial(counts[e]);
    }
    counts_.load(sorted_.data(), static_cast<Index>(sorted_.size()));
    if (!log_offsets.empty())
      for (Index place = 0; place < cells_->places(); ++place) {
        const Index i = cells_->cell_at(place);
        if (i < 0) continue;
        if (!std::isfinite(log_offsets[i]))
          throw ValueError("fit_dense: the offset of gene " + std::to_string(gene) + ", cell " + std::to_string(i) +
                           " (from 0) is not finite");
        offset_[at(place)] = cells_->log_size_factors()[place] + log_offsets[i];
      }
    choose_columns();
    iterations_ = 0;
    converged_ = true;
    ready_ = false;
    std::fill(value_.begin(), value_.end(), 0.0);
    if (status_ != FitStatus::no_counts) start();
  }

  FitStatus status() const {
    return status_ != FitStatus::no_counts && !converged_ ? FitStatus::iteration_limit : status_;
  }
  int iterations() const { return iterations_; }
  double total() const { return gene_total_; }

  /// Maximises over the coefficients at dispersion phi >= 0, from where they are.
  void solve(double phi) {
    if (status_ == FitStatus::no_counts) return;
    converged_ = false;
    for (int i = 0; i < max_iterations_ && !converged_; ++i) {
      ++iterations_;
      collect(phi);
      if (!factor_moments()) return;
      right_ = score_;
      factor_.solve(right_);
      spread(right_, step_);
      const double largest = largest_change(step_);
      if (!std::isfinite(largest)) return;
      const double length = largest <= full_step ? 1.0 : std::log1p(largest) / largest;
      for (std::size_t c = 0; c < value_.size(); ++c) value_[c] += length * step_[c];
      converged_ = largest < last_step;
    }
  }

  /// Total derivative in phi of the profile log-likelihood less (c/2) log det X'WX; solves at phi first.
  double dispersion_score(double phi, double cox_reid_factor) {
    solve(phi);
    collect(phi);  // mu, and the information
    const bool adjusted = cox_reid_factor != 0.0 && factor_moments();
    double score = counts_.derivative(phi);
    if (adjusted) {
      expected_.reset(cells_->groups(), cells_->continuous());
      pull_.assign(size_, 0.0);
    }
    for (const Index place : nonzero_) score -= y_[at(place)] * mu_[at(place)] / (1.0 + phi * mu_[at(place)]);
    for_each_chunk([&](Index k, Index begin, Index end) {
      V sum(0.0);
      for (Index i = begin; i < end; i += V::size) {
        const math::FullLanes<double> lanes{i}, local{i - begin};
        const V mu = lanes.load(mu_.data()), y = lanes.load(y_.data());
        const V x = V(phi) * mu, r = V(1.0) / (V(1.0) + x);
        sum = sum + mu * mu * excess_ratio(x);
        local.store(chunk_a_.data(), mu * r);
        local.store(chunk_b_.data(), mu * r * r * (mu - y));
      }
      score += total_of(sum);
      if (!adjusted) return;
      cells_->add_moments(k, begin, end, chunk_a_.data(), expected_);
      add_score(k, begin, end, chunk_b_.data(), pull_);
    });
    if (!adjusted) return score;
    factor_.solve(pull_);
    spread(pull_, step_);
    change_.reset(cells_->groups(), cells_->continuous());
    for_each_chunk([&](Index k, Index begin, Index end) {
      const double level = level_of(k, step_);
      for (Index i = begin; i < end; i += V::size) {
        const math::FullLanes<double> lanes{i};
        const V mu = lanes.load(mu_.data()), r = V(1.0) / (V(1.0) + V(phi) * mu);
        math::FullLanes<double>{i - begin}.store(chunk_a_.data(), mu * r * r * (predictor(V(level), i, step_) - mu));
      }
      cells_->add_moments(k, begin, end, chunk_a_.data(), change_);
    });
    cells_->assemble(active_, slots_, size_, expected_, matrix_);
    if (!factor_.factor(matrix_, size_)) return score;
    cells_->assemble(active_, slots_, size_, change_, matrix_);
    return score - 0.5 * cox_reid_factor * factor_.trace_of_product(matrix_);
  }

  /// Log-likelihood less (c/2) log det X'WX at its maximum over the coefficients.
  double adjusted_likelihood(double phi, double cox_reid_factor) {
    solve(phi);
    double value = log_likelihood(phi);
    if (cox_reid_factor == 0.0) return value;
    expected_.reset(cells_->groups(), cells_->continuous());
    for_each_chunk([&](Index k, Index begin, Index end) {
      for (Index i = begin; i < end; i += V::size) {
        const V mu = math::FullLanes<double>{i}.load(mu_.data());
        math::FullLanes<double>{i - begin}.store(chunk_a_.data(), mu / (V(1.0) + V(phi) * mu));
      }
      cells_->add_moments(k, begin, end, chunk_a_.data(), expected_);
    });
    cells_->assemble(active_, slots_, size_, expected_, matrix_);
    if (factor_.factor(matrix_, size_)) value -= 0.5 * cox_reid_factor * factor_.log_determinant();
    return value;
  }

  /// sum[(y - mu)^2 - mu] / sum mu^2 about the fitted means last computed.
  double moment_dispersion() {
    double excess = 0.0, squares = 0.0;
    for_each_chunk([&](Index, Index begin, Index end) {
      V a(0.0), b(0.0);
      for (Index i = begin; i < end; i += V::size) {
        const math::FullLanes<double> lanes{i};
        const V mu = lanes.load(mu_.data()), d = lanes.load(y_.data()) - mu;
        a = a + (d * d - mu);
        b = b + mu * mu;
      }
      excess += total_of(a);
      squares += total_of(b);
    });
    return squares > 0.0 ? excess / squares : 0.0;
  }

  /// Log-likelihood at the present coefficients.
  double log_likelihood(double phi) {
    if (status_ == FitStatus::no_counts) return 0.0;
    double sum = counts_.log_rising(phi) - log_factorials_ - fitted_part(phi);
    for (const Index place : nonzero_) {
      const double mu = mu_[at(place)];
      sum += y_[at(place)] * (std::log(mu) - std::log1p(phi * mu));
    }
    return sum;
  }

  /// Twice the log-likelihood missed by the saturated model, at the present coefficients and the same dispersion.
  double deviance(double phi) {
    if (status_ == FitStatus::no_counts) return 0.0;
    double sum = fitted_part(phi);
    for (const Index place : nonzero_) {
      const double y = y_[at(place)], mu = mu_[at(place)];
      sum += y * (std::log(y / mu) + std::log1p(phi * mu) - std::log1p(phi * y) - detail::log1p_ratio(phi * y));
    }
    return std::max(0.0, 2.0 * sum);
  }

  /// Coefficients of the design's columns on the user's scale: 0 for the reference of a factor (its first level with
  /// counts), -inf for a level without counts, NaN where not estimable or the gene has not converged.
  void coefficients(VectorView<double> out) const {
    for (Index c = 0; c < out.size(); ++c) out[c] = state_[at(c)] == Column::zero ? -detail::infinity : coefficient(c);
  }
  /// sum weights[c] coefficient[c], weights [columns]; NaN where a coefficient with weight is not estimable or
  /// infinities of both signs meet.
  double estimate(VectorView<const double> weights) const {
    double sum = 0.0;
    for (Index c = 0; c < weights.size(); ++c)
      if (weights[c] != 0.0) sum += weights[c] * (state_[at(c)] == Column::zero ? -detail::infinity : coefficient(c));
    return sum;
  }

  /// Factors the observed information for the functions below; false where it is singular to rounding.
  bool prepare_standard_errors(double phi) {
    ready_ = false;
    if (status_ == FitStatus::no_counts || !converged_) return false;
    collect(phi);
    return ready_ = factor_moments();
  }
  /// Variance of sum weights[c] coefficient[c]; NaN where a coefficient with weight is not finite.
  double variance(VectorView<const double> weights) {
    if (!ready_) return detail::not_estimable;
    const Index dense = first_dense();
    right_.assign(size_, 0.0);
    double types = 0.0;
    for (Index c = 0; c < weights.size(); ++c) {
      if (weights[c] == 0.0) continue;
      if (state_[at(c)] == Column::zero || state_[at(c)] == Column::not_estimable) return detail::not_estimable;
      if (c < cells_->design().types()) types += weights[c];
      if (c < dense && slots_[at(c)] >= 0) right_[at(slots_[at(c)])] += weights[c];
    }
    for (Index j = 0; j < cells_->continuous(); ++j)
      if (const Index slot = slots_[at(dense + j)]; slot >= 0)
        right_[at(slot)] = (weights[dense + j] - cells_->centre(j) * types) / cells_->scale(j);
    return factor_.squared_norm(right_);
  }
  /// Standard errors of coefficients(); 0 for references, NaN beside what is not finite and where there is no fit.
  void standard_errors(VectorView<double> out) {
    std::vector<double> unit(at(out.size()), 0.0);
    for (Index c = 0; c < out.size(); ++c) {
      unit[at(c)] = 1.0;
      out[c] = ready_ && state_[at(c)] == Column::reference ? 0.0 : std::sqrt(variance(unit));
      unit[at(c)] = 0.0;
    }
  }

 private:
  using V = math::Pack<double>;
  static constexpr Index chunk = 1024;
  static constexpr double full_step = 0.7;
  static constexpr double last_step = 1e-7;
  enum class Column { free, reference, zero, not_estimable };

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  Index first_dense() const { return cells_->design().first_column(cells_->design().factors()); }
  static double total_of(V pack) {
    double sum = 0.0;
    for (Index lane = 0; lane < V::size; ++lane) sum += pack.lanes[lane];
    return sum;
  }
  /// [log(1+x) - x/(1+x)] / x^2; four terms of the series are exact below 1e-4.
  static V excess_ratio(V x) {
    const V safe = math::select(x < V(1e-4), V(1.0), x);
    const V series = V(0.5) - x * (V(2.0 / 3.0) - x * (V(0.75) - x * V(0.8)));
    return math::select(x < V(1e-4), series, detail::log1p_excess(safe) / (safe * safe));
  }

  /// f(group, begin, end) for pieces of the active groups that fit the scratch.
  template <class F>
  void for_each_chunk(F&& f) {
    for (const Index k : active_)
      for (Index begin = cells_->begin(k); begin < cells_->end(k); begin += chunk)
        f(k, begin, std::min(cells_->end(k), begin + chunk));
  }

  double level_of(Index k, const std::vector<double>& values) const {
    double sum = 0.0;
    for (Index f = 0; f < cells_->design().factors(); ++f) sum += values[at(cells_->column(k, f))];
    return sum;
  }
  V predictor(V level, Index i, const std::vector<double>& values) const {
    const std::size_t dense = at(first_dense());
    for (Index j = 0; j < cells_->continuous(); ++j)
      level = math::multiply_add(math::FullLanes<double>{i}.load(cells_->x(j)), V(values[dense + at(j)]), level);
    return level;
  }

  /// Totals, columns that take part, what hangs together.
  void choose_columns() {
    const DenseDesign& design = cells_->design();
    std::fill(total_.begin(), total_.end(), 0.0);
    gene_total_ = 0.0;
    for (Index k = 0; k < cells_->groups(); ++k) {
      double total = 0.0;
      for (Index i = cells_->begin(k); i < cells_->end(k); ++i) total += y_[at(i)];
      group_total_[at(k)] = total;
      gene_total_ += total;
      for (Index f = 0; f < design.factors(); ++f) total_[at(cells_->column(k, f))] += total;
    }
    status_ = gene_total_ > 0.0 ? FitStatus::converged : FitStatus::no_counts;
    state_.assign(value_.size(), Column::free);
    for (Index f = 0; f < design.factors(); ++f) {
      bool reference = f > 0;
      for (Index c = design.first_column(f); c < design.first_column(f + 1); ++c) {
        if (total_[at(c)] == 0.0) state_[at(c)] = Column::zero;
        if (status_ == FitStatus::no_counts && f > 0) state_[at(c)] = Column::reference;
        if (state_[at(c)] != Column::free || !reference) continue;
        state_[at(c)] = Column::reference;
        reference = false;
      }
    }
    if (status_ == FitStatus::no_counts)
      for (Index c = first_dense(); c < design.columns(); ++c) state_[at(c)] = Column::not_estimable;
    active_.clear();
    bool empty_group = false;
    for (Index k = 0; k < cells_->groups(); ++k) {
      bool present = true;
      for (Index f = 0; f < design.factors(); ++f) present = present && total_[at(cells_->column(k, f))] > 0.0;
      if (!present) continue;
      active_.push_back(k);
      empty_group = empty_group || group_total_[at(k)] == 0.0;
    }
    if (empty_group && design.factors() > 1) leave_out_vanishing();
    null_.clear();
    number_columns();
    if (status_ != FitStatus::no_counts && static_cast<Index>(active_.size()) < cells_->groups()) find_dependent();
  }

  /// Groups whose fitted mean vanishes though their levels have counts: by the graph of two factors, which takes no
  /// time, or by linear programme.
  void leave_out_vanishing() {
    const DenseDesign& design = cells_->design();
    std::vector<char> vanishes(active_.size());
    if (design.factors() == 2) {
      components_.reset(design.types(), design.factor(1).levels.levels());
      const auto level = [&](Index k) { return cells_->column(k, 1) - design.first_column(1); };
      for (const Index k : active_) {
        if (group_total_[at(k)] > 0.0) {
          components_.link(cells_->column(k, 0), level(k));
        } else {
          components_.arc(cells_->column(k, 0), level(k));
        }
      }
      components_.finish();
      for (std::size_t i = 0; i < active_.size(); ++i)
        vanishes[i] = components_.of_type(cells_->column(active_[i], 0)) != components_.of_batch(level(active_[i]));
    } else {
      Matrix<int> rows(static_cast<Index>(active_.size()), first_dense());
      std::vector<char> counts;
      for (std::size_t i = 0; i < active_.size(); ++i) {
        for (Index f = 0; f < design.factors(); ++f) rows(static_cast<Index>(i), cells_->column(active_[i], f)) = 1;
        counts.push_back(group_total_[at(active_[i])] > 0.0);
      }
      vanishes = vanishing_groups(rows.view(), counts);
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < active_.size(); ++i)
      if (!vanishes[i]) active_[kept++] = active_[i];
    if (kept < active_.size()) status_ = FitStatus::separated;
    active_.resize(kept);
  }

  void number_columns() {
    size_ = 0;
    for (std::size_t c = 0; c < slots_.size(); ++c)
      slots_[c] = state_[c] == Column::free ? static_cast<Index>(size_++) : Index{-1};
  }

  /// Where groups have left, the rest may leave coefficients undetermined: these get no column.
  void find_dependent() {
    cells_->assemble(active_, slots_, size_, cells_->unweighted(), matrix_);
    const auto dependent = dependent_columns(matrix_, size_);
    if (dependent.empty()) return;
    if (status_ == FitStatus::converged) status_ = FitStatus::disconnected;
    std::vector<Index> column_of;
    for (std::size_t c = 0; c < slots_.size(); ++c)
      if (slots_[c] >= 0) column_of.push_back(static_cast<Index>(c));
    const Index dense = first_dense();
    for (const DependentColumn& found : dependent) {
      // The direction that changes no fitted mean, turned to the user's scale.
      std::vector<double> direction(value_.size(), 0.0);
      double shift = 0.0;
      for (std::size_t i = 0; i < size_; ++i) {
        const Index c = column_of[i];
        direction[at(c)] = i == found.column ? 1.0 : -found.weights[i];
        if (c >= dense) shift += direction[at(c)] * cells_->centre(c - dense) / cells_->scale(c - dense);
      }
      for (Index c = 0; c < cells_->design().types(); ++c)
        if (state_[at(c)] != Column::zero) direction[at(c)] -= shift;
      for (std::size_t c = 0; c < direction.size(); ++c)
        if (std::abs(direction[c]) > 1e-6) null_.push_back(static_cast<Index>(c));
    }
    for (const DependentColumn& found : dependent) state_[at(column_of[found.column])] = Column::not_estimable;
    number_columns();
    for (const Index c : null_) state_[at(c)] = Column::not_estimable;  // keep their columns: something must fit them
  }

  /// Two sweeps of iterative proportional fitting of the Poisson model without the continuous covariates.
  void start() {
    const DenseDesign& design = cells_->design();
    exposure_.assign(at(cells_->groups()), 0.0);
    for_each_chunk([&](Index k, Index begin, Index end) {
      V sum(0.0);
      for (Index i = begin; i < end; i += V::size)
        sum = sum + math::exp(math::FullLanes<double>{i}.load(offset_.data()));
      exposure_[at(k)] += total_of(sum);
    });
    for (int sweep = 0; sweep < 2; ++sweep)
      for (Index f = 0; f < design.factors(); ++f) {
        for (Index c = design.first_column(f); c < design.first_column(f + 1); ++c) value_[at(c)] = step_[at(c)] = 0.0;
        for (const Index k : active_)
          step_[at(cells_->column(k, f))] += exposure_[at(k)] * std::exp(level_of(k, value_));
        for (Index c = design.first_column(f); c < design.first_column(f + 1); ++c)
          if (step_[at(c)] > 0.0) value_[at(c)] = std::log(total_[at(c)] / step_[at(c)]);
      }
    // Columns without a slot are 0 from here on; the reference's value goes to the types.
    double shift = 0.0;
    for (Index c = design.types(); c < first_dense(); ++c)
      if (state_[at(c)] == Column::reference) shift += value_[at(c)];
    for (Index f = 0; f < design.factors(); ++f) {
      double own = 0.0;
      for (Index c = design.first_column(f); c < design.first_column(f + 1) && f > 0; ++c)
        if (state_[at(c)] == Column::reference) own = value_[at(c)];
      for (Index c = design.first_column(f); c < design.first_column(f + 1); ++c)
        value_[at(c)] = slots_[at(c)] < 0 ? 0.0 : value_[at(c)] + (f == 0 ? shift : -own);
    }
  }

  /// At phi and the present coefficients: means, score, and moments of the observed information.
  void collect(double phi) {
    information_.reset(cells_->groups(), cells_->continuous());
    score_.assign(size_, 0.0);
    for_each_chunk([&](Index k, Index begin, Index end) {
      const double level = level_of(k, value_);
      for (Index i = begin; i < end; i += V::size) {
        const math::FullLanes<double> lanes{i}, local{i - begin};
        const V mu = math::exp(predictor(lanes.load(offset_.data()) + V(level), i, value_));
        const V y = lanes.load(y_.data());
        const V r = V(1.0) / (V(1.0) + V(phi) * mu);
        lanes.store(mu_.data(), mu);
        local.store(chunk_a_.data(), (y - mu) * r);
        local.store(chunk_b_.data(), mu * r * r * (V(1.0) + V(phi) * y));
      }
      add_score(k, begin, end, chunk_a_.data(), score_);
      cells_->add_moments(k, begin, end, chunk_b_.data(), information_);
    });
  }

  /// sums += X' values over places [begin, end) of group k.
  void add_score(Index k, Index begin, Index end, const double* values, std::vector<double>& sums) const {
    const auto sum = [&](auto&& term) {
      V total(0.0);
      for (Index i = begin; i < end; i += V::size) total = total + term(i);
      return total_of(total);
    };
    const double plain = sum([&](Index i) { return math::FullLanes<double>{i - begin}.load(values); });
    for (Index f = 0; f < cells_->design().factors(); ++f)
      if (const Index slot = slots_[at(cells_->column(k, f))]; slot >= 0) sums[at(slot)] += plain;
    for (Index j = 0; j < cells_->continuous(); ++j)
      if (const Index slot = slots_[at(first_dense() + j)]; slot >= 0)
        sums[at(slot)] += sum([&](Index i) {
          return math::FullLanes<double>{i - begin}.load(values) * math::FullLanes<double>{i}.load(cells_->x(j));
        });
  }

  bool factor_moments() {
    cells_->assemble(active_, slots_, size_, information_, matrix_);
    return factor_.factor(matrix_, size_);
  }

  /// By slots to by columns, 0 for columns without one.
  void spread(const std::vector<double>& by_slot, std::vector<double>& by_column) const {
    for (std::size_t c = 0; c < by_column.size(); ++c) by_column[c] = slots_[c] >= 0 ? by_slot[at(slots_[c])] : 0.0;
  }

  /// Largest magnitude of a cell's change of linear predictor.
  double largest_change(const std::vector<double>& step) {
    double largest = 0.0;
    const auto take = [&](double change) { largest = change <= largest ? largest : change; };  // keeps NaN
    if (cells_->continuous() == 0) {
      for (const Index k : active_) take(std::abs(level_of(k, step)));
      return largest;
    }
    for_each_chunk([&](Index k, Index begin, Index end) {
      const V level(level_of(k, step));
      V most(0.0);
      for (Index i = begin; i < end; i += V::size) {
        const V change = math::absolute(predictor(level, i, step));
        most = math::select(change <= most, most, change);
      }
      for (Index lane = 0; lane < V::size; ++lane) take(most.lanes[lane]);
    });
    return largest;
  }

  /// sum log(1 + phi mu) / phi; leaves the means of the present coefficients.
  double fitted_part(double phi) {
    double result = 0.0;
    for_each_chunk([&](Index k, Index begin, Index end) {
      const double level = level_of(k, value_);
      V sum(0.0);
      for (Index i = begin; i < end; i += V::size) {
        const math::FullLanes<double> lanes{i};
        const V mu = math::exp(predictor(lanes.load(offset_.data()) + V(level), i, value_));
        lanes.store(mu_.data(), mu);
        sum = sum + (phi > 0.0 ? math::log1p(V(phi) * mu) / V(phi) : mu);
      }
      result += total_of(sum);
    });
    return result;
  }

  double coefficient(Index c) const {
    if (status_ != FitStatus::no_counts && !converged_) return detail::not_estimable;
    if (state_[at(c)] == Column::not_estimable) return detail::not_estimable;
    const Index dense = first_dense();
    if (c >= dense) return value_[at(c)] / cells_->scale(c - dense);
    double value = value_[at(c)];
    if (c < cells_->design().types())
      for (Index j = 0; j < cells_->continuous(); ++j)
        value -= value_[at(dense + j)] * cells_->centre(j) / cells_->scale(j);
    return value;
  }

  const DenseCells* cells_;
  int max_iterations_;

  // The gene.
  std::vector<double> y_, offset_, sorted_;
  std::vector<Index> nonzero_;
  CountSums counts_;
  double log_factorials_ = 0.0, gene_total_ = 0.0;
  std::vector<double> total_, group_total_;  // by column, by group
  std::vector<Column> state_;
  std::vector<Index> slots_, active_, null_;
  std::size_t size_ = 0;
  FitStatus status_ = FitStatus::no_counts;

  // Where the fit stands.
  std::vector<double> value_, mu_;
  Components components_;
  GroupMoments information_, expected_, change_;
  DenseFactor factor_;
  int iterations_ = 0;
  bool converged_ = true, ready_ = false;

  std::vector<double> step_, score_, right_, pull_, matrix_, exposure_, chunk_a_, chunk_b_;
};

}  // namespace eosin::glm
