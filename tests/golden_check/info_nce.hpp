#pragma once

#include <eosin/losses/info_nce.hpp>

#include "support/golden.hpp"

namespace eosin::testing {

template <class T>
void check_info_nce(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  const auto spot = golden.matrix<T>("in/spot");
  const auto image = golden.matrix<T>("in/image");
  const Index pairs = spot.rows();
  losses::InfoNceOptions options;
  options.temperature = golden.config.value("temperature", 1.0);
  options.normalize = golden.config.at("normalize").get<bool>();
  options.image_weight = golden.config.at("image_weight").get<double>();
  const bool learned = golden.config.at("learned_temperature").get<bool>();
  const T log_scale = learned ? static_cast<T>(golden.scalar("param/log_scale")) : T(0);
  const T* scale = learned ? &log_scale : nullptr;
  T d_log_scale = 0;
  Matrix<T> d_spot(pairs, spot.cols()), d_image(pairs, spot.cols());
  const double loss = losses::info_nce<T>(context, spot, image, options, d_spot.view(), d_image.view(), scale,
                                          learned ? &d_log_scale : nullptr);
  comparison.check("loss", loss);
  comparison.check("grad/in/spot", d_spot);
  comparison.check("grad/in/image", d_image);
  if (learned) comparison.check("grad/param/log_scale", d_log_scale);
  if (golden.has("out/logits")) {
    Matrix<T> logits(pairs, pairs);
    losses::info_nce_logits<T>(context, spot, image, options, logits.view(), scale);
    comparison.check("out/logits", logits);
  }
}

}  // namespace eosin::testing
