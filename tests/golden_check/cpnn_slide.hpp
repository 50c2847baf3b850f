#pragma once

#include "golden_check/cpnn.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_cpnn_slide(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  auto model = cpnn_model<T>(golden, context);
  const auto patches = place(context, golden.matrix<T>("in/patches"));
  const auto expression = place(context, golden.matrix<T>("in/expression"));
  const auto composition = place(context, golden.matrix<T>("in/composition"));
  const auto& offsets = golden.at("in/offsets").values;
  const auto& has_composition = golden.at("in/has_composition").values;
  const Index slides_count = expression.rows();
  std::vector<cpnn::Slide<T, Space>> slides;
  for (Index s = 0; s < slides_count; ++s) {
    const auto i = static_cast<std::size_t>(s);
    const auto begin = static_cast<Index>(offsets[i]);
    const auto end = static_cast<Index>(offsets[i + 1]);
    slides.push_back({patches.view().middle_rows(begin, end - begin), expression.row(s),
                      has_composition[i] != 0 ? composition.row(s) : VectorView<const T, Space>{}});
  }
  const Index types = model.options().types;
  const Index genes = model.options().genes;
  Matrix<T, Space> out_composition(patches.rows(), types), pooled(slides_count, types), scale(slides_count, genes),
      rate(slides_count, genes), d_patches(patches.rows(), patches.cols());
  const cpnn::Outputs<T, Space> outputs{.composition = out_composition.view(),
                                        .pooled_composition = pooled.view(),
                                        .scale = scale.view(),
                                        .rate = rate.view(),
                                        .d_patches = d_patches.view()};
  const auto losses = model.slide_step(context, slides, layers::GradientMode::overwrite, outputs);
  check_losses(comparison, losses);
  comparison.check("out/composition", fetch(context, out_composition));
  comparison.check("out/pooled_composition", fetch(context, pooled));
  comparison.check("out/scale", fetch(context, scale));
  comparison.check("out/rate", fetch(context, rate));
  comparison.check("grad/in/patches", fetch(context, d_patches));
  check_gradients<T>(comparison, context, model);
  check_trajectory<T>(golden, comparison, context, model,
                      [&] { return model.slide_step(context, slides, layers::GradientMode::overwrite); });
}

}  // namespace eosin::testing
