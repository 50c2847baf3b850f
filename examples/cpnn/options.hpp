#pragma once

// The switches of CPNN as typed options (Nishimura et al., "Cell-Type Prototype-Informed Neural Network for Gene
// Expression Estimation from Pathology Images", CVPR 2026). Defaults are the published slide-level setting, corrected;
// what the released code does differently is in Compat and off.

#include <eosin/losses/composition.hpp>
#include <eosin/losses/prototype.hpp>

#include <optional>
#include <vector>

namespace cpnn {

using eosin::Index;

/// From patch features to the logits of cell types.
enum class Projector {
  mlp,      ///< linear layers with GELU between them
  adapter,  ///< GELU layers as wide as the input, one residual around all, then the head
  linear    ///< one linear layer
};

enum class Prototypes {
  trained,   ///< start at the fitted prototypes and are trained
  fixed,     ///< stay at the fitted prototypes
  scratch    ///< random start, no prototype regulariser
};

enum class Observation {
  negative_binomial,  ///< counts given the predicted share of each gene and the library
  pearson,  ///< minus the mean correlation (slide level: across genes; patch level: across the section's spots)
  mean_squared_error  ///< of shares of the library
};

/// What the composition is compared with at patch level.
enum class CompositionLevel {
  patch,   ///< a reference per patch
  section  ///< one reference for the mean over the section
};

/// Behaviour of the released code that is not the default here.
struct Compat {
  bool mask_as_one = false;          ///< a masked prototype contributes exp(0) = 1 instead of 0
  bool cut_to_4096_patches = false;  ///< validation and test slides are cut to 4,096 random patches
  bool last_weights = false;         ///< the "best" weights are the last ones
  bool unseeded_split = false;       ///< the train/validation split takes its seed from the clock
  bool softmax_normalisation = false;  ///< local estimation normalises with a softmax over genes and forgets a and b
};

struct ModelOptions {
  Projector projector = Projector::mlp;
  Index inputs = 0;                       ///< features per patch
  std::vector<Index> hidden = {1024, 512};  ///< hidden widths (mlp); their number (adapter)
  double head_gain = 1;  ///< factor on the Xavier start of the last layer; small: P starts near 1/types
  Index types = 0;
  Index genes = 0;
  Prototypes prototypes = Prototypes::trained;
  bool correction = true;                 ///< modality correction alpha, beta per gene
  eosin::losses::PrototypeLoss prototype_regulariser = eosin::losses::PrototypeLoss::softmax_mse;
  eosin::losses::CompositionLoss composition_regulariser = eosin::losses::CompositionLoss::mean_squared_error;
  CompositionLevel composition_level = CompositionLevel::patch;
  Observation observation = Observation::negative_binomial;
  double regulariser_weight = 1e3;        ///< w, on both regularisers
  double composition_scale = 1;           ///< k, on the composition regulariser alone
  std::optional<double> library;          ///< targets are scaled to this library; none: as counted
  double eps = 1e-8;                      ///< in the logarithms of the likelihood
  bool mask_as_one = false;
};

}  // namespace cpnn
