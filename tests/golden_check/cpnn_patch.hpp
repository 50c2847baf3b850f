#pragma once

#include "golden_check/cpnn.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_cpnn_patch(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  auto model = cpnn_model<T>(golden, context);
  const auto patches = place(context, golden.matrix<T>("in/patches"));
  const auto expression = place(context, golden.matrix<T>("in/expression"));
  Matrix<T, Space> composition;
  if (golden.has("in/composition")) composition = place(context, golden.matrix<T>("in/composition"));
  const auto& offsets = golden.at("in/offsets").values;
  const std::size_t count = offsets.size() - 1;
  const bool per_patch = model.options().composition_level == cpnn::CompositionLevel::patch;
  std::vector<losses::PearsonTarget<T, Space>> targets;
  for (std::size_t s = 0; s < count; ++s)
    targets.push_back(losses::pearson_target(
        context, expression.view().middle_rows(static_cast<Index>(offsets[s]),
                                               static_cast<Index>(offsets[s + 1] - offsets[s]))));
  std::vector<cpnn::Section<T, Space>> sections;
  for (std::size_t s = 0; s < count; ++s) {
    const auto begin = static_cast<Index>(offsets[s]);
    const auto rows = static_cast<Index>(offsets[s + 1]) - begin;
    MatrixView<const T, Space> reference;
    if (!composition.empty())
      reference = per_patch ? std::as_const(composition).view().middle_rows(begin, rows)
                            : std::as_const(composition).view().middle_rows(static_cast<Index>(s), 1);
    sections.push_back(
        {patches.view().middle_rows(begin, rows), &targets[s], expression.view().middle_rows(begin, rows), reference});
  }
  const Index types = model.options().types;
  const Index genes = model.options().genes;
  Matrix<T, Space> out_composition(patches.rows(), types), pooled(static_cast<Index>(count), types),
      correlation(static_cast<Index>(count), genes), d_patches(patches.rows(), patches.cols()),
      prediction(patches.rows(), genes);
  const cpnn::Outputs<T, Space> outputs{.composition = out_composition.view(),
                                        .pooled_composition = pooled.view(),
                                        .correlation = correlation.view(),
                                        .d_patches = d_patches.view()};
  const auto losses = model.patch_step(context, sections, layers::GradientMode::overwrite, outputs);
  model.express(context, out_composition.view(), prediction.view());
  check_losses(comparison, losses);
  comparison.check("out/composition", fetch(context, out_composition));
  comparison.check("out/pooled_composition", fetch(context, pooled));
  comparison.check("out/prediction", fetch(context, prediction));
  comparison.check("out/corr", fetch(context, correlation));
  comparison.check("grad/in/patches", fetch(context, d_patches));
  check_gradients<T>(comparison, context, model);
  check_trajectory<T>(golden, comparison, context, model,
                      [&] { return model.patch_step(context, sections, layers::GradientMode::overwrite); });
}

}  // namespace eosin::testing
