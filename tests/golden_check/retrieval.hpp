#pragma once

#include <eosin/retrieval/neighbours.hpp>

#include "support/golden.hpp"

#include <string>

namespace eosin::testing {

template <class T>
void check_retrieval(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  const auto keys = golden.matrix<T>("in/keys");
  const auto queries = golden.matrix<T>("in/queries");
  const auto expression = golden.matrix<T>("in/expression");
  retrieval::RetrievalOptions options;
  options.k = golden.config.at("k").get<Index>();
  options.distance =
      golden.config.at("distance").get<std::string>() == "l1" ? retrieval::Distance::l1 : retrieval::Distance::l2;
  options.weighting = golden.config.at("weighting").get<std::string>() == "uniform"
                          ? retrieval::Weighting::uniform
                          : retrieval::Weighting::inverse_square;
  if (golden.config.value("expect_error", false)) {
    try {
      retrieval::find_neighbours<T>(context, keys, queries, options);
      comparison.fail("no error was raised");
    } catch (const ValueError&) {
      // what is asked for
    }
    return;
  }
  const auto found = retrieval::find_neighbours<T>(context, keys, queries, options);
  Matrix<T> prediction(queries.rows(), expression.cols());
  retrieval::weighted_expression<T>(context, expression, found.indices, found.weights, prediction);
  comparison.check("out/indices", found.indices);
  comparison.check("out/similarity", found.similarity);
  comparison.check("out/distance", found.distance);
  comparison.check("out/weights", found.weights);
  comparison.check("out/prediction", prediction);
}

}  // namespace eosin::testing
