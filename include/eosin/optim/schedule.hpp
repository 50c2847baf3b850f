#pragma once

// Learning-rate schedules: the rate of step (or epoch) t = 0, 1, ...
//
//   Constant   rate
//   Step       rate * factor^floor(t / period)                                     (PyTorch's StepLR)
//   Cosine     minimum + (rate - minimum) (1 + cos(pi t / period)) / 2     (SGDR without restarts, also t > period)
//   Warmup     the schedule it wraps, times (t + 1) / steps during the first `steps`

#include <eosin/core/config.hpp>
#include <eosin/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <variant>

namespace eosin::optim {

struct ConstantRate {};

struct StepRate {
  Index period = 50;
  double factor = 0.9;
};

struct CosineRate {
  Index period = 100;
  double minimum = 0;
};

/// A schedule and, before it, a linear warm-up over `warmup` steps (0: none).
struct Schedule {
  std::variant<ConstantRate, StepRate, CosineRate> kind = ConstantRate{};
  Index warmup = 0;

  /// The rate of step t from the base rate. Throws ValueError for a period below 1.
  double operator()(double rate, Index t) const {
    const double ramp = t < warmup ? static_cast<double>(t + 1) / static_cast<double>(warmup) : 1.0;
    return ramp * std::visit([&](const auto& schedule) { return value(schedule, rate, t); }, kind);
  }

 private:
  static double value(const ConstantRate&, double rate, Index) { return rate; }
  static double value(const StepRate& schedule, double rate, Index t) {
    require_value(schedule.period >= 1, "StepRate", "period must be at least 1");
    return rate * std::pow(schedule.factor, static_cast<double>(t / schedule.period));
  }
  static double value(const CosineRate& schedule, double rate, Index t) {
    require_value(schedule.period >= 1, "CosineRate", "period must be at least 1");
    const double phase = 3.14159265358979323846 * static_cast<double>(t) / static_cast<double>(schedule.period);
    return schedule.minimum + (rate - schedule.minimum) * (1 + std::cos(phase)) / 2;
  }
};

}  // namespace eosin::optim
