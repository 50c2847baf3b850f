#pragma once

// The components that golden cases can name and that run on a device.

#include "golden_check/cpnn_patch.hpp"
#include "golden_check/cpnn_slide.hpp"
#include "golden_check/densenet.hpp"
#include "golden_check/gelu.hpp"
#include "golden_check/info_nce.hpp"
#include "golden_check/layer_norm.hpp"
#include "golden_check/mclstexp_spot.hpp"
#include "golden_check/nb_loss.hpp"
#include "golden_check/optimizer.hpp"
#include "golden_check/pearson_loss.hpp"
#include "golden_check/projection_head.hpp"
#include "golden_check/retrieval.hpp"
#include "golden_check/softmax_cross_entropy.hpp"
#include "golden_check/table.hpp"
#include "golden_check/transformer.hpp"

namespace eosin::testing {

inline const ComponentTable& device_components() {
  static const ComponentTable table{
      {"cpnn_patch", {check_cpnn_patch<double, CudaContext>, check_cpnn_patch<float, CudaContext>}},
      {"cpnn_slide", {check_cpnn_slide<double, CudaContext>, check_cpnn_slide<float, CudaContext>}},
      {"densenet", {check_densenet<double, CudaContext>, check_densenet<float, CudaContext>}},
      {"gelu", {check_gelu<double, CudaContext>, check_gelu<float, CudaContext>}},
      {"info_nce", {check_info_nce<double, CudaContext>, check_info_nce<float, CudaContext>}},
      {"layer_norm", {check_layer_norm<double, CudaContext>, check_layer_norm<float, CudaContext>}},
      {"mclstexp_spot", {check_mclstexp_spot<double, CudaContext>, check_mclstexp_spot<float, CudaContext>}},
      {"nb_loss", {check_nb_loss<double, CudaContext>, check_nb_loss<float, CudaContext>}},
      {"optimizer", {check_optimizer<double, CudaContext>, check_optimizer<float, CudaContext>}},
      {"pearson_loss", {check_pearson_loss<double, CudaContext>, check_pearson_loss<float, CudaContext>}},
      {"projection_head", {check_projection_head<double, CudaContext>, check_projection_head<float, CudaContext>}},
      {"retrieval", {check_retrieval<double, CudaContext>, check_retrieval<float, CudaContext>}},
      {"softmax_cross_entropy", {check_softmax_cross_entropy<double, CudaContext>, check_softmax_cross_entropy<float, CudaContext>}},
      {"transformer", {check_transformer<double, CudaContext>, check_transformer<float, CudaContext>}},
  };
  return table;
}

}  // namespace eosin::testing
