#pragma once

// Golden cases: folders with case.json and tensors.safetensors that hold inputs and wanted results of one component.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/io/file.hpp>
#include <eosin/io/safetensors.hpp>

#include "support/golden_folder.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace eosin::testing {

/// A tensor of any stored type, widened to double.
struct GoldenTensor {
  std::vector<Index> shape;
  std::vector<double> values;

  Index size() const { return static_cast<Index>(values.size()); }
};

struct GoldenCase {
  std::string component;
  std::string name;
  std::filesystem::path folder;
  nlohmann::json config;
  nlohmann::json document;  // all of case.json
  std::map<std::string, GoldenTensor> tensors;

  bool has(const std::string& tensor) const { return tensors.count(tensor) != 0; }
  /// Throws naming the case and the tensor.
  const GoldenTensor& at(const std::string& tensor) const {
    const auto found = tensors.find(tensor);
    if (found == tensors.end()) throw Error(component + "/" + name + ": no tensor " + tensor);
    return found->second;
  }
  /// A tensor of two dimensions; one dimension is taken as a single row.
  template <class T>
  Matrix<T> matrix(const std::string& tensor) const {
    const GoldenTensor& source = at(tensor);
    if (source.shape.size() > 2) throw Error(component + "/" + name + ": " + tensor + " is not a matrix");
    const Index rows = source.shape.size() == 2 ? source.shape[0] : 1;
    const Index cols = source.shape.empty() ? 1 : source.shape.back();
    Matrix<T> result(rows, cols);
    std::transform(source.values.begin(), source.values.end(), result.data(),
                   [](double value) { return static_cast<T>(value); });
    return result;
  }
  /// A tensor of any shape, flat.
  template <class T>
  Vector<T> vector(const std::string& tensor) const {
    const GoldenTensor& source = at(tensor);
    Vector<T> result(source.size());
    std::transform(source.values.begin(), source.values.end(), result.data(),
                   [](double value) { return static_cast<T>(value); });
    return result;
  }
  /// The only value of a tensor of one element.
  double scalar(const std::string& tensor) const {
    const GoldenTensor& source = at(tensor);
    if (source.size() != 1) throw Error(component + "/" + name + ": " + tensor + " is not a scalar");
    return source.values[0];
  }
};

inline GoldenCase load_golden(const std::filesystem::path& folder) {
  GoldenCase golden;
  golden.folder = folder;
  golden.document = nlohmann::json::parse(io::read_file(folder / "case.json"));
  golden.component = golden.document.at("component").get<std::string>();
  golden.name = golden.document.at("case").get<std::string>();
  golden.config = golden.document.value("config", nlohmann::json::object());
  const auto file = io::SafeTensors::read(folder / "tensors.safetensors");
  for (const auto& tensor : file.tensors())
    golden.tensors.emplace(tensor.name, GoldenTensor{tensor.shape, file.values<double>(tensor.name)});
  return golden;
}

/// The cases of a component in the test data, sorted by name; empty when there are none.
inline std::vector<std::filesystem::path> golden_cases(std::string_view component) {
  const std::filesystem::path root = golden_folder() / component;
  std::vector<std::filesystem::path> cases;
  if (!std::filesystem::is_directory(root)) return cases;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    if (std::filesystem::exists(entry.path() / "case.json")) cases.push_back(entry.path());
  std::sort(cases.begin(), cases.end());
  return cases;
}

/// The first element of `expect_error_contains` that `message` lacks; empty when it has all (and is not empty itself).
inline std::string unmet_error_text(const GoldenCase& golden, const std::string& message) {
  if (message.empty()) return "no error was raised";
  for (const auto& wanted : golden.document.at("expect_error_contains")) {
    const auto holds = [&](const nlohmann::json& text) {
      return message.find(text.get<std::string>()) != std::string::npos;
    };
    if (wanted.is_array() ? std::none_of(wanted.begin(), wanted.end(), holds) : !holds(wanted))
      return wanted.dump() + " is not in: " + message;
  }
  return {};
}

/// Compares results with the wanted tensors of a case:
/// |got - want| <= tolerance * max|want| + 1e-300, NaN equal to NaN. In single precision the tolerance is that of
/// `compare_float` where it matches, else 2e5 times that of `compare`.
class Comparison {
 public:
  Comparison(const GoldenCase& golden, bool single_precision) : golden_(&golden), single_(single_precision) {}

  bool single_precision() const { return single_; }

  /// Checks n values in row-major order; ignores a tensor that no pattern of `compare` matches.
  template <class T>
  void check(const std::string& tensor, const T* got, Index n) {
    check_with(tensor, n, [got](Index i) { return static_cast<double>(got[i]); });
  }
  template <class T>
  void check(const std::string& tensor, VectorView<T> got) {
    check_with(tensor, got.size(), [got](Index i) { return static_cast<double>(got[i]); });
  }
  template <class T>
  void check(const std::string& tensor, MatrixView<T> got) {
    check_with(tensor, got.rows() * got.cols(),
               [got](Index i) { return static_cast<double>(got(i / got.cols(), i % got.cols())); });
  }
  template <class T>
  void check(const std::string& tensor, const Vector<T>& got) {
    check(tensor, got.view());
  }
  template <class T>
  void check(const std::string& tensor, const Matrix<T>& got) {
    check(tensor, got.view());
  }
  template <class T>
  void check(const std::string& tensor, const std::vector<T>& got) {
    check_with(tensor, static_cast<Index>(got.size()),
               [&got](Index i) { return static_cast<double>(got[static_cast<std::size_t>(i)]); });
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  void check(const std::string& tensor, T got) { check(tensor, &got, 1); }

  /// Records a failure that is not a number's (a wrong string, an error that did not come).
  void fail(const std::string& what) { failures_.push_back(what); }

  /// Every tensor that `compare` asks for must have been checked.
  void finish() {
    for (const auto& [name, tensor] : golden_->tensors)
      if (tolerance(name) && checked_.count(name) == 0) fail(name + " was not checked");
    if (golden_->document.contains("compare"))
      for (const auto& [pattern, value] : golden_->document["compare"].items())
        if (pattern.find('*') == std::string::npos && !golden_->has(pattern))
          fail(pattern + " is to be compared and not in the file");
  }

  bool ok() const { return failures_.empty(); }
  const std::vector<std::string>& failures() const { return failures_; }
  /// The tensor whose error comes closest to (or exceeds most) its tolerance.
  const std::string& worst_tensor() const { return worst_tensor_; }
  /// Its largest |got - want| / max|want|, and the tolerance it is held against.
  double worst_error() const { return worst_error_; }
  double worst_tolerance() const { return worst_tolerance_; }

  /// One line for people: worst tensor, its error and tolerance, and what failed.
  std::string summary() const {
    char text[160];
    std::snprintf(text, sizeof text, "worst %s: %.2e (tolerance %.1e)",
                  worst_tensor_.empty() ? "-" : worst_tensor_.c_str(), worst_error_, worst_tolerance_);
    std::string line = text;
    for (const auto& failure : failures_) line += "; " + failure;
    return line;
  }

 private:
  /// Value of the longest pattern that matches `name`.
  static std::optional<double> match(const nlohmann::json& patterns, const std::string& name) {
    std::optional<double> found;
    std::size_t longest = 0;
    for (const auto& [pattern, value] : patterns.items()) {
      const bool prefix = !pattern.empty() && pattern.back() == '*';
      const std::string_view stem = prefix ? std::string_view(pattern).substr(0, pattern.size() - 1) : pattern;
      const bool matches = prefix ? std::string_view(name).substr(0, stem.size()) == stem : name == stem;
      const std::size_t rank = prefix ? stem.size() + 1 : name.size() + 2;
      if (matches && rank > longest) {
        longest = rank;
        found = value.get<double>();
      }
    }
    return found;
  }

  std::optional<double> tolerance(const std::string& name) const {
    const auto& document = golden_->document;
    const auto wanted = document.contains("compare") ? match(document["compare"], name) : std::nullopt;
    if (!single_ || !wanted) return wanted;
    if (document.contains("compare_float"))
      if (const auto single = match(document["compare_float"], name)) return single;
    return *wanted * 2e5;
  }

  template <class Read>
  void check_with(const std::string& name, Index n, Read&& read) {
    const auto allowed = tolerance(name);
    if (!allowed || !golden_->has(name)) return;
    checked_.insert(name);
    const GoldenTensor& want = golden_->at(name);
    if (n != want.size()) {
      fail(name + " has " + std::to_string(n) + " values, expected " + std::to_string(want.size()));
      return;
    }
    double scale = 0;
    for (const double value : want.values)
      if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
    double largest = 0;
    for (Index i = 0; i < n; ++i) {
      const double wanted = want.values[static_cast<std::size_t>(i)];
      const double got = read(i);
      double error = std::abs(got - wanted);
      if (got == wanted || (std::isnan(got) && std::isnan(wanted)))
        error = 0;
      else if (single_ && static_cast<float>(wanted) == static_cast<float>(got))
        error = 0;  // beyond float's range
      else if (!std::isfinite(error))
        error = std::numeric_limits<double>::infinity();
      largest = std::max(largest, error);
    }
    const bool good = largest <= *allowed * scale + 1e-300;
    const double relative = largest == 0 ? 0 : scale > 0 ? largest / scale : std::numeric_limits<double>::infinity();
    const double rank = relative == 0  ? 0
                        : *allowed > 0 ? relative / *allowed
                                       : std::numeric_limits<double>::infinity();
    if (worst_tensor_.empty() || rank > worst_rank_) {
      worst_rank_ = rank;
      worst_tensor_ = name;
      worst_error_ = relative;
      worst_tolerance_ = *allowed;
    }
    if (!good) {
      char text[96];
      std::snprintf(text, sizeof text, " is off by %.3e, allowed %.3e", relative, *allowed);
      fail(name + text);
    }
  }

  const GoldenCase* golden_;
  bool single_;
  std::set<std::string> checked_;
  std::vector<std::string> failures_;
  std::string worst_tensor_;
  double worst_error_ = 0;
  double worst_tolerance_ = 0;
  double worst_rank_ = 0;
};

}  // namespace eosin::testing
