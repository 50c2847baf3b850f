#pragma once

// Golden cases of component `normalization`, through the dense and the sparse path.

#include <eosin/data/normalisation.hpp>

#include "support/golden.hpp"

#include <string>
#include <vector>

namespace eosin::testing {

template <class T>
void check_normalization(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  const auto counts = golden.matrix<T>("in/counts");
  data::NormalisationOptions options;

  const auto axis = golden.config.at("axis").get<std::string>();
  if (axis != "spot" && axis != "gene") throw Error("normalization: unknown axis " + axis);
  options.axis = axis == "spot" ? data::NormalisationAxis::spot : data::NormalisationAxis::gene;

  const auto& target = golden.config.at("target");
  if (target.is_number())
    options.target = target.get<double>();
  else if (target.is_null())
    options.target = data::NoTarget{};
  else if (target == "median_positive")
    options.target = data::MedianPositiveTarget{};
  else if (target == "mean")
    options.target = data::MeanTarget{};
  else
    throw Error("normalization: unknown target " + target.dump());

  const auto log = golden.config.at("log").get<std::string>();
  if (log == "log10")
    options.log = data::LogTransform::log10;
  else if (log == "log2")
    options.log = data::LogTransform::log2;
  else if (log == "log1p")
    options.log = data::LogTransform::log1p;
  else if (log == "none")
    options.log = data::LogTransform::none;
  else
    throw Error("normalization: unknown log " + log);
  options.pseudocount = golden.config.value("pseudocount", 1.0);

  Vector<double> library;
  if (golden.config.value("library", std::string()) == "given") library = golden.vector<double>("in/library");

  Matrix<T> dense(counts.rows(), counts.cols());
  const auto result = data::normalise(context, counts.view(), dense.view(), options, library.view());
  comparison.check("out/normalized", dense);
  comparison.check("out/totals", result.totals);

  std::vector<Triplet<T>> entries;
  for (Index r = 0; r < counts.rows(); ++r)
    for (Index c = 0; c < counts.cols(); ++c)
      if (counts(r, c) != 0) entries.push_back({r, c, counts(r, c)});
  Matrix<T> from_sparse(counts.rows(), counts.cols());
  const auto sparse_result =
      data::normalise(context, SparseMatrix<T>::from_triplets(counts.rows(), counts.cols(), entries),
                      from_sparse.view(), options, library.view());
  comparison.check("out/normalized", from_sparse);
  comparison.check("out/totals", sparse_result.totals);
  comparison.finish();
}

}  // namespace eosin::testing
