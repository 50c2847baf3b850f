#pragma once

// What a backward pass does with the gradients of parameters.

namespace eosin::layers {

/// `ignore`: not computed (frozen parameters); `overwrite`: set; `accumulate`: added to what is there.
enum class GradientMode { ignore, overwrite, accumulate };

}  // namespace eosin::layers
