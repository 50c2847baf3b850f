#include <eosin/layers/lazy_embedding.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

namespace {

/// Steps with batches that leave most rows out, on a dense table under Adam and on a lazy one, at changing rates.
template <class T>
struct Pair {
  CpuContext context;
  Parameters<T> parameters;
  layers::Embedding<T> dense;
  optim::AdamOptions adam;
  layers::LazyEmbedding<T> lazy;
  optim::Adam<T> optimiser;
  RandomStream random{7};

  Pair(const optim::AdamOptions& options, bool decay_unused, int threads = 2)
      : context({.threads = threads}),
        dense(parameters, "table", 40, 19),
        adam(options),
        lazy(40, 19, {.adam = options, .decay_unused = decay_unused}, 5),
        optimiser((parameters.allocate(context, 5), parameters), options) {
    for (Index i = 0; i < lazy.values().size(); ++i) parameters.values()[i] = lazy.values().data()[i];
  }
  void step(std::uint64_t t) {
    std::vector<Index> rows;
    for (int i = 0; i < 4; ++i) rows.push_back(random.below(t < 20 ? 10 : 40));
    const auto dy = testing::normal_matrix<T>(4, 19, t);
    Matrix<T> y(4, 19), z(4, 19);
    dense.forward_add(context, rows, y.view());
    lazy.forward_add(context, rows, z.view());
    REQUIRE(testing::same_bits(y, z));
    dense.backward(context, rows, dy, layers::GradientMode::overwrite);
    lazy.backward(context, rows, dy);
    const double rate = 1e-2 / (1.0 + static_cast<double>(t));
    optimiser.step(context, parameters, rate, 0.5);
    lazy.step(context, rate, 0.5);
  }
  bool equal() {
    lazy.finish(context);
    const auto value = parameters.matrix(parameters.find("table.weight"));
    return testing::same_bits(testing::copy_of<T>(value), testing::copy_of<T>(lazy.values()));
  }
};

constexpr auto coupled = optim::WeightDecay::coupled, decoupled = optim::WeightDecay::decoupled;

}  // namespace

TEST_CASE_TEMPLATE("layers::LazyEmbedding: what is read, and the table after finish(), have the bits of dense Adam", T,
                   float, double) {
  for (const auto& options :
       {optim::AdamOptions{.weight_decay = 1e-2, .decay = coupled}, optim::AdamOptions{.weight_decay = 0},
        optim::AdamOptions{.weight_decay = 0.1, .decay = decoupled}}) {
    Pair<T> pair(options, true);
    for (std::uint64_t t = 0; t < 30; ++t) pair.step(t);
    CHECK(pair.equal());
    for (std::uint64_t t = 30; t < 45; ++t) pair.step(t);
    CHECK(pair.equal());
    CHECK(pair.lazy.steps() == 45);
  }
}

TEST_CASE("layers::LazyEmbedding: without decay_unused a row that no batch uses stays") {
  CpuContext context({.threads = 2});
  layers::LazyEmbedding<double> table(5, 3, {.decay_unused = false}, 1);
  const auto before = testing::copy_of<double>(table.values());
  const std::vector<Index> rows{2, 2};
  Matrix<double> y(2, 3);
  for (std::uint64_t t = 0; t < 4; ++t) {
    table.forward_add(context, rows, y.view());
    table.backward(context, rows, testing::normal_matrix<double>(2, 3, t));
    table.step(context, 1e-2);
  }
  table.finish(context);
  for (Index r = 0; r < 5; ++r)
    for (Index c = 0; c < 3; ++c) CHECK((table.values()(r, c) == before(r, c)) == (r != 2));
  REQUIRE(table.used_rows().size() == 1);
  CHECK(table.used_rows()[0] == 2);
  CHECK(table.gradient().rows() == 1);
}

TEST_CASE("layers::LazyEmbedding: saved and restored it goes on with the same bits; errors") {
  CpuContext context({.threads = 2});
  const layers::LazyEmbeddingOptions options{};
  layers::LazyEmbedding<float> first(6, 4, options, 1), second(6, 4, options, 2);
  const auto step = [&](layers::LazyEmbedding<float>& table, Index row, std::uint64_t t) {
    const std::vector<Index> rows{row};
    Matrix<float> y(1, 4);
    table.forward_add(context, rows, y.view());
    table.backward(context, rows, testing::normal_matrix<float>(1, 4, t));
    table.step(context, 1e-2);
  };
  for (std::uint64_t t = 0; t < 5; ++t) step(first, static_cast<Index>(t) % 3, t);
  first.finish(context);
  for (Index i = 0; i < 24; ++i) {
    second.values().data()[i] = first.values().data()[i];
    second.first_moment().data()[i] = first.first_moment().data()[i];
    second.second_moment().data()[i] = first.second_moment().data()[i];
  }
  second.set_steps(first.steps());
  for (std::uint64_t t = 5; t < 9; ++t)
    for (auto* table : {&first, &second}) step(*table, static_cast<Index>(t) % 6, t);
  first.finish(context);
  second.finish(context);
  CHECK(testing::same_bits(testing::copy_of<float>(first.values()), testing::copy_of<float>(second.values())));
  const std::vector<Index> outside{6};
  Matrix<float> y(1, 4);
  CHECK_THROWS_WITH_AS(first.forward_add(context, outside, y.view()),
                       "LazyEmbedding: row 6 (element 0) lies outside the table of 6", ValueError);
  CHECK_THROWS_AS(first.backward(context, outside, y.view()), ValueError);
}
