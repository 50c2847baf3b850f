#pragma once

#include <eosin/retrieval/neighbours.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

#include <string>

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_retrieval(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  const auto keys = place(context, golden.matrix<T>("in/keys"));
  const auto queries = place(context, golden.matrix<T>("in/queries"));
  const auto expression = place(context, golden.matrix<T>("in/expression"));
  retrieval::RetrievalOptions options;
  options.k = golden.config.at("k").get<Index>();
  options.distance =
      golden.config.at("distance").get<std::string>() == "l1" ? retrieval::Distance::l1 : retrieval::Distance::l2;
  options.weighting = golden.config.at("weighting").get<std::string>() == "uniform"
                          ? retrieval::Weighting::uniform
                          : retrieval::Weighting::inverse_square;
  const auto find = [&] {
    if constexpr (std::is_same_v<Space, Host>) {
      return retrieval::find_neighbours<T>(context, keys, queries, options);
    } else {
      return retrieval::find_neighbours(context, keys.view(), queries.view(), options);
    }
  };
  if (golden.config.value("expect_error", false)) {
    try {
      static_cast<void>(find());
      comparison.fail("no error was raised");
    } catch (const ValueError&) {
      // what is asked for
    }
    return;
  }
  const auto found = find();
  Matrix<T, Space> prediction(queries.rows(), expression.cols());
  retrieval::weighted_expression<T>(context, expression, found.indices.view(), found.weights, prediction.view());
  comparison.check("out/indices", fetch(context, found.indices));
  comparison.check("out/similarity", fetch(context, found.similarity));
  comparison.check("out/distance", fetch(context, found.distance));
  comparison.check("out/weights", fetch(context, found.weights));
  comparison.check("out/prediction", fetch(context, prediction));
}

}  // namespace eosin::testing
