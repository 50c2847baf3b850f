#pragma once

namespace study {

/// How features are brought to mean 0 and deviation 1: every section by itself, or all by the training sections.
enum class Standardisation { section, training };

}  // namespace study
