#include "golden_check/transformer.hpp"

#include "support/arrays.hpp"
#include "support/golden_test.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

namespace {

layers::TransformerBlockOptions small_options(Index size, Index heads, Index width, Index hidden, bool bias = false) {
  layers::TransformerBlockOptions options;
  options.attention = {.size = size, .heads = heads, .head_width = width, .qkv_bias = bias};
  options.attention.output_layer = heads * width != size || bias;
  options.hidden = hidden;
  options.layer_norm_eps = 0.1;
  return options;
}

template <class T>
struct Fixture {
  CpuContext context;
  Parameters<T> parameters;
  layers::Transformer<T> encoder;
  typename layers::Transformer<T>::Cache cache;
  std::vector<Index> offsets;
  Matrix<T> x, weights, y, dx;
  ops::DropoutKey dropout;

  Fixture(Index depth, const layers::TransformerBlockOptions& options, std::vector<Index> sentences, int threads = 2)
      : context({.threads = threads}),
        encoder(parameters, depth, options,
                [](Index b) { return layers::TransformerBlockNames::timm("blocks." + std::to_string(b)); }),
        offsets(std::move(sentences)),
        x(testing::normal_matrix<T>(offsets.back(), options.attention.size, 1)),
        weights(testing::normal_matrix<T>(offsets.back(), options.attention.size, 2)),
        y(x.rows(), x.cols()),
        dx(x.rows(), x.cols()) {
    parameters.allocate(context, 3);
  }
  double value() {
    encoder.forward(context, x, offsets, y.view(), cache, dropout);
    if constexpr (std::is_same_v<T, double>) return testing::inner_product(y, weights);
    return 0;
  }
  void backward(GradientMode mode) { encoder.backward(context, x, offsets, weights, dx.view(), cache, mode); }
};

}  // namespace

TEST_CASE("layers::Transformer: golden cases in double and in float") {
  testing::check_golden_cases("transformer", testing::check_transformer<double>, testing::check_transformer<float>);
}

TEST_CASE("layers::Transformer: six-point differences, with and without bias, output layer and dropout") {
  for (const double rate : {0.0, 0.3})
    for (const auto& options :
         {small_options(6, 2, 2, 5), small_options(4, 2, 2, 4, true), small_options(4, 2, 2, 3)}) {
      CAPTURE(rate);
      Fixture<double> f(2, options, {0, 3, 3, 5});
      f.dropout = {.rate = rate, .seed = 1, .stream = 4};
      f.value();
      f.backward(GradientMode::overwrite);
      testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
      CHECK(testing::gradient_error(f.x.flat(), std::as_const(f.dx).flat(), [&] { return f.value(); }) <=
            testing::gradient_tolerance);
    }
}

TEST_CASE("layers::Transformer: gradient modes, names") {
  Fixture<double> f(1, small_options(4, 2, 3, 5), {0, 6});
  CHECK(f.parameters.contains("blocks.0.attn.proj.weight"));
  CHECK_FALSE(f.parameters.contains("blocks.0.attn.qkv.bias"));
  f.value();
  f.backward(GradientMode::overwrite);
  const auto gradients = f.parameters.gradients();
  const std::vector<double> once(gradients.data(), gradients.data() + gradients.size());
  const auto dx = f.dx;
  f.value();
  f.backward(GradientMode::accumulate);
  for (Index i = 0; i < gradients.size(); ++i)
    REQUIRE(gradients[i] == doctest::Approx(2 * once[static_cast<std::size_t>(i)]).epsilon(1e-13));
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
  f.value();
  f.backward(GradientMode::ignore);
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);
  CHECK(testing::same_bits(dx, f.dx));
}

TEST_CASE("layers::Transformer: the same bits on any number of threads, in float, with dropout") {
  Fixture<float> one(2, small_options(40, 4, 8, 50), {0, 210, 260}, 1),
      three(2, small_options(40, 4, 8, 50), {0, 210, 260}, 3);
  for (auto* f : {&one, &three}) {
    f->dropout = {.rate = 0.1, .seed = 2};
    f->value();
    f->backward(GradientMode::overwrite);
  }
  CHECK(testing::same_bits(one.y, three.y));
  CHECK(testing::same_bits(one.dx, three.dx));
  CHECK(testing::same_bits(one.parameters.gradients(), three.parameters.gradients()));
}

TEST_CASE("layers::Transformer: no blocks, no rows, no allocation after the first step, errors") {
  Fixture<double> identity(0, small_options(4, 2, 2, 3), {0, 3});
  identity.value();
  CHECK(testing::same_bits(identity.x, identity.y));
  identity.backward(GradientMode::overwrite);
  CHECK(testing::same_bits(identity.dx, identity.weights));
  Fixture<double> none(1, small_options(4, 2, 2, 3), {0, 0});
  CHECK_NOTHROW(none.value());
  CHECK_NOTHROW(none.backward(GradientMode::overwrite));
  Fixture<double> f(1, small_options(4, 2, 2, 3), {0, 30});
  f.value();
  f.backward(GradientMode::overwrite);
  const Index held = f.context.workspace().capacity();
  const double* qkv = f.cache.blocks[0].attention.qkv.data();
  f.value();
  f.backward(GradientMode::overwrite);
  CHECK(f.context.workspace().capacity() == held);
  CHECK(f.cache.blocks[0].attention.qkv.data() == qkv);
  Matrix<double> wide(30, 5);
  CHECK_THROWS_WITH_AS(f.encoder.forward(f.context, wide, f.offsets, f.y.view(), f.cache),
                       "Transformer: x has 5 columns, expected 4 (size of the blocks)", ShapeError);
  Parameters<double> parameters;
  CHECK_THROWS_AS((layers::SelfAttention<double>(parameters, "a", "b",
                                                 {.size = 5, .heads = 2, .head_width = 3, .output_layer = false})),
                  ValueError);
}
