#pragma once

#include <eosin/losses/info_nce.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

#include <type_traits>

namespace eosin::testing {

#if defined(EOSIN_CUDA_KERNELS)
template <class Space>
using DeviceOptions = losses::DeviceInfoNceOptions;
#else
template <class Space>
using DeviceOptions = losses::InfoNceOptions;
#endif

template <class T, class C = CpuContext>
void check_info_nce(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  const auto spot = place(context, golden.matrix<T>("in/spot"));
  const auto image = place(context, golden.matrix<T>("in/image"));
  const Index pairs = spot.rows();
  using Options = std::conditional_t<std::is_same_v<Space, Host>, losses::InfoNceOptions, DeviceOptions<Space>>;
  Options options;
  options.temperature = golden.config.value("temperature", 1.0);
  options.normalize = golden.config.at("normalize").get<bool>();
  options.image_weight = golden.config.at("image_weight").get<double>();
  const bool learned = golden.config.at("learned_temperature").get<bool>();
  Vector<T> given(learned ? 1 : 0);
  if (learned) given[0] = static_cast<T>(golden.scalar("param/log_scale"));
  const auto log_scale = place(context, given);
  Vector<T, Space> d_log_scale(learned ? 1 : 0);
  Matrix<T, Space> d_spot(pairs, spot.cols()), d_image(pairs, spot.cols());
  double loss = 0;
  if constexpr (std::is_same_v<Space, Host>) {
    loss = losses::info_nce<T>(context, spot, image, options, d_spot.view(), d_image.view(), log_scale.data(),
                               d_log_scale.data());
  } else {
    loss = loss_value(context, [&](auto sum) {
      losses::info_nce<T>(context, spot, image, options, d_spot.view(), d_image.view(), sum, log_scale.view(),
                          d_log_scale.view());
    });
  }
  comparison.check("loss", loss);
  comparison.check("grad/in/spot", fetch(context, d_spot));
  comparison.check("grad/in/image", fetch(context, d_image));
  if (learned) comparison.check("grad/param/log_scale", fetch(context, d_log_scale.view()));
  if (golden.has("out/logits")) {
    Matrix<T, Space> logits(pairs, pairs);
    if constexpr (std::is_same_v<Space, Host>) {
      losses::info_nce_logits<T>(context, spot, image, options, logits.view(), log_scale.data());
    } else {
      losses::info_nce_logits<T>(context, spot, image, options, logits.view(), log_scale.view());
    }
    comparison.check("out/logits", fetch(context, logits));
  }
}

}  // namespace eosin::testing
