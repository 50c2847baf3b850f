#pragma once

// The samples of a run, ready for a model: spots with counts of the selected genes, log-normalised expression, patch
// features, compositions, and a small picture of the tissue. Filled from a manifest here, from a simulation in
// common/simulated_study.hpp.

#include "common/study_options.hpp"

#include <eosin/core/context.hpp>
#include <eosin/data/splits.hpp>
#include <eosin/data/standardise.hpp>
#include <eosin/vision/image.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace study {

using eosin::CpuContext;
using eosin::Index;
using eosin::Matrix;
using eosin::MatrixView;
using eosin::Vector;

/// How expression is normalised: counts / total of the spot over all its genes * target, then ln(1 + .).
inline constexpr double normalisation_target = 1e4;

struct Sample {
  std::string name;
  std::string patient;
  std::vector<std::string> spots;
  std::vector<double> x, y;             ///< centres in pixels of the image
  std::vector<Index> array_x, array_y;  ///< place in the array of spots
  double pitch = 0;                     ///< distance of neighbouring spots in pixels
  bool measured = true;                 ///< whether there are counts
  Matrix<float> counts;                 ///< [N x G] of the selected genes
  Vector<double> library;               ///< [N] total over all genes
  Matrix<float> expression;             ///< [N x G] log-normalised
  Matrix<float> features;               ///< [N x D] standardised
  Matrix<float> slide_features;  ///< slide level: all rows of a feature file; otherwise empty and `features` serves
  std::vector<std::string> types;
  Matrix<double> composition;  ///< [N x C]; empty where unknown
  std::vector<std::uint8_t> has_composition;
  std::vector<std::string> annotation;  ///< a label per spot, empty where it has none; none without an annotation file
  eosin::vision::Image thumbnail;
  double thumbnail_scale = 1;                         ///< thumbnail pixels per image pixel
  std::shared_ptr<const eosin::vision::Image> image;  ///< where keep_images asks for it

  Index size() const { return static_cast<Index>(spots.size()); }
  MatrixView<const float> patches() const { return slide_features.empty() ? features.view() : slide_features.view(); }
};

struct Study {
  std::vector<std::string> genes;
  std::vector<std::string> types;
  std::vector<std::string> feature_names;
  std::vector<Sample> samples;  ///< training, validation and test samples
  eosin::data::Split split;
  std::vector<std::string> notes;  ///< what a reader of the results should know
  std::string source;              ///< manifest, or the simulation's description
  bool simulated = false;

  Sample& at(const std::string& name) {
    for (auto& sample : samples)
      if (sample.name == name) return sample;
    throw eosin::ValueError("no sample '" + name + "'");
  }
  const Sample& at(const std::string& name) const { return const_cast<Study*>(this)->at(name); }
  std::vector<const Sample*> of(const std::vector<std::string>& names) const {
    std::vector<const Sample*> found;
    for (const auto& name : names) found.push_back(&at(name));
    return found;
  }
};

/// Of everything that training reads of the training and validation samples: equal for equal data (FNV-1a, 64 bits).
/// `places`: training reads the places of the spots too, and the images that were kept.
std::uint64_t training_fingerprint(const Study& study, bool places = false);

struct LoadOptions {
  std::filesystem::path manifest;
  std::vector<std::string> train, validate, test;
  std::filesystem::path genes_file;  ///< one gene per line; empty: the `highly_variable` genes
  Index highly_variable = 1000;
  bool variable_with_test = false;  ///< compat: the test samples take part in choosing variable genes
  std::vector<std::string> genes;   ///< if not empty: exactly these, as a trained model asks
  double patch_size = 0;            ///< edge in pixels; 0: the spot pitch
  bool slide_level = false;         ///< take all rows of feature files
  bool encode = true;               ///< false: no features; feature files are not read
  bool keep_images = false;         ///< keep the images of the samples
  bool require_images = false;      ///< a sample without an image is an error
  std::function<void(std::string_view)> log = {};
};

namespace detail {

/// Reduces the picture to about 1,000 pixels.
void make_thumbnail(CpuContext& context, Sample& sample, const eosin::vision::Image& image);

}  // namespace detail

/// Loads, selects genes on the training samples, encodes and normalises; features are left as encoded
/// (standardise_features). Throws what the readers throw.
Study load_study(CpuContext& context, const LoadOptions& options);

/// Brings the features of all samples to mean 0 and deviation 1: every section by itself (which also takes out stain
/// differences and reads nothing but the image), or by the training sections, whose numbers are returned for later
/// samples.
std::optional<eosin::data::Standardiser> standardise_features(CpuContext& context, Study& study, Standardisation kind);

/// Brings the features of samples for a trained model to what its training saw: `names` are the model's features,
/// `standardiser` the training's where it standardised by the training samples. Throws ParseError for other features.
void standardise_as_trained(CpuContext& context, Study& study, const std::vector<std::string>& names,
                            const std::optional<eosin::data::Standardiser>& standardiser);

/// Fills `expression` of every measured sample from counts and library.
void normalise_expression(CpuContext& context, Study& study);

}  // namespace study
