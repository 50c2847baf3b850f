#pragma once

#include "golden_check/cpnn.hpp"

namespace eosin::testing {

template <class T>
void check_cpnn_slide(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  auto model = cpnn_model<T>(golden, context);
  const auto patches = golden.matrix<T>("in/patches");
  const auto expression = golden.matrix<T>("in/expression");
  const auto composition = golden.matrix<T>("in/composition");
  const auto& offsets = golden.at("in/offsets").values;
  const auto& has_composition = golden.at("in/has_composition").values;
  const Index slides_count = expression.rows();
  std::vector<cpnn::Slide<T>> slides;
  for (Index s = 0; s < slides_count; ++s) {
    const auto i = static_cast<std::size_t>(s);
    const auto begin = static_cast<Index>(offsets[i]);
    const auto end = static_cast<Index>(offsets[i + 1]);
    slides.push_back({patches.view().middle_rows(begin, end - begin), expression.row(s),
                      has_composition[i] != 0 ? composition.row(s) : VectorView<const T>{}});
  }
  const Index types = model.options().types;
  const Index genes = model.options().genes;
  Matrix<T> out_composition(patches.rows(), types), pooled(slides_count, types), scale(slides_count, genes),
      rate(slides_count, genes), d_patches(patches.rows(), patches.cols());
  cpnn::Outputs<T> outputs{.composition = out_composition.view(),
                           .pooled_composition = pooled.view(),
                           .scale = scale.view(),
                           .rate = rate.view(),
                           .d_patches = d_patches.view()};
  const auto losses = model.slide_step(context, slides, layers::GradientMode::overwrite, outputs);
  check_losses(comparison, losses);
  comparison.check("out/composition", out_composition);
  comparison.check("out/pooled_composition", pooled);
  comparison.check("out/scale", scale);
  comparison.check("out/rate", rate);
  comparison.check("grad/in/patches", d_patches);
  check_segments<T>(comparison, "grad/param/", model.parameters(), std::as_const(model.parameters()).gradients());
  check_trajectory<T>(golden, comparison, context, model,
                      [&] { return model.slide_step(context, slides, layers::GradientMode::overwrite); });
}

}  // namespace eosin::testing
