#pragma once

// The one list of components that golden cases can name, on the processor.

#include "golden_check/cpnn_patch.hpp"
#include "golden_check/cpnn_slide.hpp"
#include "golden_check/densenet.hpp"
#include "golden_check/gelu.hpp"
#include "golden_check/info_nce.hpp"
#include "golden_check/layer_norm.hpp"
#include "golden_check/mclstexp_spot.hpp"
#include "golden_check/metrics.hpp"
#include "golden_check/nb_loss.hpp"
#include "golden_check/normalization.hpp"
#include "golden_check/optimizer.hpp"
#include "golden_check/pearson_loss.hpp"
#include "golden_check/projection_head.hpp"
#include "golden_check/resnet.hpp"
#include "golden_check/retrieval.hpp"
#include "golden_check/softmax_cross_entropy.hpp"
#include "golden_check/table.hpp"
#include "golden_check/transformer.hpp"
#include "golden_check/vit.hpp"

namespace eosin::testing {

inline const ComponentTable& processor_components() {
  static const ComponentTable table{
      {"cpnn_patch", {check_cpnn_patch<double>, check_cpnn_patch<float>}},
      {"cpnn_slide", {check_cpnn_slide<double>, check_cpnn_slide<float>}},
      {"densenet", {check_densenet<double>, check_densenet<float>}},
      {"gelu", {check_gelu<double>, check_gelu<float>}},
      {"info_nce", {check_info_nce<double>, check_info_nce<float>}},
      {"layer_norm", {check_layer_norm<double>, check_layer_norm<float>}},
      {"mclstexp_spot", {check_mclstexp_spot<double>, check_mclstexp_spot<float>}},
      {"metrics", {check_metrics<double>, check_metrics<float>}},
      {"nb_loss", {check_nb_loss<double>, check_nb_loss<float>}},
      {"normalization", {check_normalization<double>, check_normalization<float>}},
      {"optimizer", {check_optimizer<double>, check_optimizer<float>}},
      {"pearson_loss", {check_pearson_loss<double>, check_pearson_loss<float>}},
      {"projection_head", {check_projection_head<double>, check_projection_head<float>}},
      {"resnet", {check_resnet<double>, check_resnet<float>}},
      {"retrieval", {check_retrieval<double>, check_retrieval<float>}},
      {"softmax_cross_entropy", {check_softmax_cross_entropy<double>, check_softmax_cross_entropy<float>}},
      {"transformer", {check_transformer<double>, check_transformer<float>}},
      {"vit", {check_vit<double>, check_vit<float>}},
  };
  return table;
}

}  // namespace eosin::testing
