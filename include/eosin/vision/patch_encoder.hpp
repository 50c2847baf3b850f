#pragma once

// A patch encoder without learned weights: what a pathologist's words (cellularity, size and shape of nuclei, stroma,
// fat, fibres) and the classical literature on texture say about the tissue under and around a spot, as a row of
// floats.
//
// Around each spot several square fields are cut, whose edges are multiples of the spot pitch, each at a resolution
// in pixels per pitch, so that features mean the same on images of different magnification. In each field, after
// separation of the stains (stain.hpp: Ruifrok and Johnston 2001, Macenko et al. 2009):
//
//   stain     mean, deviation and quantiles of haematoxylin, eosin, residual and mean optical density; their
//             correlation; shares of bare glass, of dark, of nuclear and of eosinophilic tissue; stain of what is not
//             nuclear; nuclear-cytoplasmic ratio
//   bands     per level of a binomial pyramid of haematoxylin and of eosin: log energy, coherence of orientation,
//             second-order roughness (texture.hpp: Burt and Adelson 1983, Bigun and Granlund 1987, Bruna and Mallat
//             2013)
//   patterns  local binary patterns of the optical density (Ojala et al. 2002)
//   pairs     co-occurrence statistics of haematoxylin (Haralick et al. 1973); off by default
//   nuclei    segments and blobs (nuclei.hpp: Otsu 1979, Lindeberg 1998): density, sizes, elongation, amounts,
//             distance to the nearest other nucleus
//
// The encoder has no state beyond its options: illumination, stain vectors and the nuclear threshold are measured on
// the image itself. Results do not depend on the number of threads. Models take the features standardised per section,
// which also removes what is left of the differences in staining. docs/patch-encoder.md has the choice of the fields
// and what it was judged by.

#include <eosin/core/buffer.hpp>
#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/vision/image.hpp>
#include <eosin/vision/nuclei.hpp>
#include <eosin/vision/patches.hpp>
#include <eosin/vision/stain.hpp>
#include <eosin/vision/texture.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::vision {

/// A square around the spot that is described as one texture.
struct EncoderField {
  /// First part of the names of its features.
  std::string name{};
  /// Edge, in spot pitches.
  double window = 1.0;
  /// Pixels per spot pitch after reduction; an image that has fewer is taken as it is.
  Index resolution = 96;
  /// Levels of the pyramid of textures, the first at the field's own resolution.
  Index levels = 5;
  /// Whether nuclei are looked for one by one; they should be at least 4 pixels wide.
  bool nuclei = false;
  /// Whether co-occurrence statistics are added.
  bool pairs = false;
};

struct PatchEncoderOptions {
  std::vector<EncoderField> fields{{.name = "spot", .window = 1.0, .resolution = 288, .nuclei = true},
                                   {.name = "surroundings", .window = 2.0, .resolution = 96},
                                   {.name = "region", .window = 4.0, .resolution = 48, .levels = 4},
                                   {.name = "district", .window = 8.0, .resolution = 24, .levels = 3}};
  /// Typical diameter of a nucleus, in spot pitches (8 micrometres of 200).
  double nucleus_diameter = 0.04;
  /// Mean optical density below which a pixel is glass.
  double glass_density = 0.12;
  StainOptions stain{};
};

class PatchEncoder {
 public:
  /// Throws ValueError for options out of range.
  explicit PatchEncoder(PatchEncoderOptions options = {}) : options_(std::move(options)) {
    require_value(!options_.fields.empty(), "PatchEncoder", "there are no fields");
    require_value(options_.nucleus_diameter > 0.0 && options_.nucleus_diameter <= 1.0, "PatchEncoder",
                  "nucleus_diameter is outside (0, 1] pitches");
    for (const EncoderField& field : options_.fields) {
      const std::string which = "field '" + field.name + "': ";
      require_value(field.window > 0.0 && field.window <= 64.0, "PatchEncoder",
                    which + "window is outside (0, 64] pitches");
      require_value(field.resolution >= 8 && field.resolution <= 4096, "PatchEncoder",
                    which + "resolution is outside [8, 4096] pixels per pitch");
      require_value(field.levels >= 0 && field.levels <= 12, "PatchEncoder", which + "levels is outside [0, 12]");
    }
    // The names are collected by describing a blank field, so that they cannot part from the values.
    const StainSeparator separator{StainEstimate{}};
    const Image blank(smallest_field, smallest_field);
    Row row{&names_, {}};
    Scratch scratch;
    for (const EncoderField& field : options_.fields)
      describe(field, blank, separator, static_cast<double>(smallest_field) / field.window, 0.5f, scratch, row);
  }

  const PatchEncoderOptions& options() const { return options_; }
  const std::vector<std::string>& feature_names() const { return names_; }
  Index features() const { return static_cast<Index>(names_.size()); }

  /// Features [spots x features()] of the tissue at `centres` (pixels), whose neighbours are `pitch` pixels apart.
  /// `spot_names` serve messages only and may be empty. Every value is finite. Throws ShapeError for an empty image,
  /// ValueError for a pitch that is not positive or a centre outside the image (naming it). Cost: 10 to 20 ms
  /// of a core per spot at the default fields and a pitch of 270 pixels; memory: beside the image, reduced copies of a
  /// third of its size and a few megabytes per thread.
  Matrix<float> encode(CpuContext& context, const Image& image, std::span<const Point> centres, double pitch,
                       std::span<const std::string> spot_names = {}) const {
    return encode(context, image, centres, pitch, estimate_stains(image, options_.stain), spot_names);
  }

  /// The same with the stains of the image given.
  Matrix<float> encode(CpuContext& context, const Image& image, std::span<const Point> centres, double pitch,
                       const StainEstimate& stains, std::span<const std::string> spot_names = {}) const {
    require_value(pitch > 0.0 && pitch <= 16384.0, "PatchEncoder::encode", "pitch is outside (0, 16384] pixels");
    require_centres(image, centres, spot_names);
    const StainSeparator separator(stains);
    const float threshold = nuclear_threshold(context, image, centres, pitch, separator);
    const std::vector<Level> levels = reduce(context, image, pitch);
    Matrix<float> result(static_cast<Index>(centres.size()), features());
    context.parallel_for(result.rows(), 4, [&](Index begin, Index end) {
      Scratch scratch;
      for (Index i = begin; i < end; ++i) {
        Row row{nullptr, result.row(i)};
        for (const EncoderField& field : options_.fields) {
          const Level& level = level_for(levels, pitch, field);
          const Image patch = cut(level.factor == 1 ? image : level.image, level.factor,
                                  centres[static_cast<std::size_t>(i)], pitch, field.window, field.resolution);
          describe(field, patch, separator, static_cast<double>(patch.width) / field.window, threshold, scratch, row);
        }
      }
    });
    return result;
  }

 private:
  static constexpr Index smallest_field = 16;

  /// Takes features one after the other: their names, or their values.
  struct Row {
    std::vector<std::string>* names;
    VectorView<float> values;
    Index position = 0;

    void add(std::string_view field, std::string_view name, double value) {
      if (names != nullptr)
        names->push_back(std::string(field) + "." + std::string(name));
      else
        values[position++] = static_cast<float>(value);
    }
  };

  struct Scratch {
    Plane haematoxylin, eosin, residual, density, level, next;
    BandScratch band;
    BlobScratch blob;
  };

  /// The image reduced by a power of two, so that wide fields need not read every pixel again for every spot; factor 1
  /// stands for the image itself and holds none.
  struct Level {
    Index factor = 1;
    Image image;
  };

  /// Half the reduction that the field asks for, or more, is left to the exact window.
  static Index reduction(double pitch, const EncoderField& field) {
    Index factor = 1;
    while (factor < 1024 && static_cast<double>(2 * factor * field.resolution) * 1.5 <= pitch) factor *= 2;
    return factor;
  }

  std::vector<Level> reduce(CpuContext& context, const Image& image, double pitch) const {
    std::vector<Level> levels(1);
    for (const EncoderField& field : options_.fields) {
      const Index factor = reduction(pitch, field);
      // Fields mostly come from near to wide, so that each level is made from a smaller one.
      const Level& finer = *std::max_element(levels.begin(), levels.end(), [&](const Level& a, const Level& b) {
        return (a.factor <= factor ? a.factor : 0) < (b.factor <= factor ? b.factor : 0);
      });
      if (finer.factor == factor) continue;
      Image reduced = reduce_image(context, finer.factor == 1 ? image : finer.image, factor / finer.factor);
      levels.push_back({factor, std::move(reduced)});
    }
    return levels;
  }

  static const Level& level_for(const std::vector<Level>& levels, double pitch, const EncoderField& field) {
    const Index factor = reduction(pitch, field);
    return *std::find_if(levels.begin(), levels.end(), [&](const Level& level) { return level.factor == factor; });
  }

  /// `window` pitches around `centre`; image, which is 1 / factor of the one that centre and pitch refer to.
  static Image cut(const Image& image, Index factor, Point centre, double pitch, double window, Index resolution) {
    const auto scale = static_cast<double>(factor);
    const Point here{(centre.x + 0.5) / scale - 0.5, (centre.y + 0.5) / scale - 0.5};
    const double available = pitch / scale, per_pitch = std::min(static_cast<double>(resolution), available);
    const Index size = std::max(smallest_field, static_cast<Index>(std::llround(window * per_pitch)));
    // An image that is no finer than the field is taken pixel by pixel.
    const bool as_is = factor == 1 && available <= static_cast<double>(resolution) &&
                       window * per_pitch >= static_cast<double>(smallest_field);
    return as_is ? extract_patch(image, here, size) : resample_window(image, here, window * available, size);
  }

  static void separate(const Image& patch, const StainSeparator& separator, Scratch& s) {
    for (Plane* plane : {&s.haematoxylin, &s.eosin, &s.residual, &s.density}) plane->resize(patch.width, patch.height);
    for (std::size_t i = 0; i < s.density.values.size(); ++i) {
      const auto amount = separator(patch.pixels.data() + 3 * i);
      s.haematoxylin.values[i] = std::clamp(amount[0], -0.25f, 2.0f);
      s.eosin.values[i] = std::clamp(amount[1], -0.25f, 2.0f);
      s.residual.values[i] = std::clamp(amount[2], -1.0f, 1.0f);
      s.density.values[i] = std::clamp(amount[3], -0.25f, 4.0f);
    }
  }

  /// One threshold for the whole image, from the tissue of at most 64 spots spread over the list.
  float nuclear_threshold(CpuContext& context, const Image& image, std::span<const Point> centres, double pitch,
                          const StainSeparator& separator) const {
    const Index step = std::max<Index>(1, (static_cast<Index>(centres.size()) + 63) / 64);
    const Index looked_at = (static_cast<Index>(centres.size()) + step - 1) / step;
    std::vector<std::vector<float>> samples(static_cast<std::size_t>(looked_at));
    context.parallel_for(looked_at, 4, [&](Index begin, Index end) {
      Scratch scratch;
      for (Index i = begin; i < end; ++i) {
        separate(cut(image, 1, centres[static_cast<std::size_t>(i * step)], pitch, 0.6, 144), separator, scratch);
        for (std::size_t k = 0; k < scratch.density.values.size(); ++k)
          if (static_cast<double>(scratch.density.values[k]) > options_.stain.tissue_density)
            samples[static_cast<std::size_t>(i)].push_back(scratch.haematoxylin.values[k]);
      }
    });
    std::vector<float> tissue;
    for (const auto& sample : samples) tissue.insert(tissue.end(), sample.begin(), sample.end());
    return otsu_threshold(tissue, 0.0f, 1.5f);
  }

  void describe(const EncoderField& field, const Image& patch, const StainSeparator& separator, double per_pitch,
                float threshold, Scratch& s, Row& row) const {
    separate(patch, separator, s);
    describe_stains(field.name, threshold, s, row);
    describe_bands(field, "haematoxylin", s.haematoxylin, s, row);
    describe_bands(field, "eosin", s.eosin, s, row);
    smooth_binomial(s.density, s.level, s.band.filter);
    const auto patterns = local_binary_patterns(s.level, 0.01f);
    for (std::size_t k = 0; k < patterns.size(); ++k) row.add(field.name, "pattern" + std::to_string(k), patterns[k]);
    if (field.pairs) {
      for (const Index distance : {1, 3}) {
        const CoOccurrence pairs = co_occurrence(s.haematoxylin, distance, 0.0f, 1.5f);
        const std::string name = "pairs" + std::to_string(distance) + ".";
        row.add(field.name, name + "contrast", std::log(pairs.contrast + 0.01));
        row.add(field.name, name + "homogeneity", pairs.homogeneity);
        row.add(field.name, name + "uniformity", pairs.uniformity);
        row.add(field.name, name + "entropy", pairs.entropy);
        row.add(field.name, name + "correlation", pairs.correlation);
      }
    }
    if (field.nuclei) describe_nuclei(field.name, per_pitch, threshold, s, row);
  }

  void describe_stains(const std::string& field, float threshold, const Scratch& s, Row& row) const {
    const auto statistics = [&](const std::string& name, const Plane& plane, float low, float high) {
      const Moments m = moments(plane.values);
      row.add(field, name + ".mean", m.mean);
      row.add(field, name + ".deviation", m.deviation);
      const auto q = quantiles<3>(plane.values, low, high, {0.05, 0.5, 0.95});
      row.add(field, name + ".q05", q[0]);
      row.add(field, name + ".q50", q[1]);
      row.add(field, name + ".q95", q[2]);
      return m;
    };
    const Moments h = statistics("haematoxylin", s.haematoxylin, -0.25f, 2.0f);
    const Moments e = statistics("eosin", s.eosin, -0.25f, 2.0f);
    statistics("residual", s.residual, -1.0f, 1.0f);
    statistics("density", s.density, -0.25f, 4.0f);

    constexpr float dark_density = 0.8f, eosinophilic = 0.4f;
    const auto glass_density = static_cast<float>(options_.glass_density);
    double covariance = 0.0, other_h = 0.0, other_e = 0.0;
    Index glass = 0, dark = 0, nuclear = 0, pink = 0, other = 0;
    for (std::size_t i = 0; i < s.density.values.size(); ++i) {
      const float amount_h = s.haematoxylin.values[i], amount_e = s.eosin.values[i], density = s.density.values[i];
      covariance += (static_cast<double>(amount_h) - h.mean) * (static_cast<double>(amount_e) - e.mean);
      dark += density > dark_density ? 1 : 0;
      if (amount_h > threshold) {
        ++nuclear;
      } else {
        pink += amount_e > eosinophilic ? 1 : 0;
        if (density >= glass_density) {
          ++other;
          other_h += static_cast<double>(amount_h);
          other_e += static_cast<double>(amount_e);
        }
      }
      glass += density < glass_density ? 1 : 0;
    }
    const auto n = static_cast<double>(s.density.values.size());
    const auto cytoplasm = static_cast<double>(other);
    row.add(field, "correlation", covariance / n / (h.deviation * e.deviation + 1e-4));
    row.add(field, "glass", static_cast<double>(glass) / n);
    row.add(field, "dark", static_cast<double>(dark) / n);
    row.add(field, "nuclear", static_cast<double>(nuclear) / n);
    row.add(field, "eosinophilic", static_cast<double>(pink) / n);
    row.add(field, "cytoplasm.haematoxylin", other_h / std::max(1.0, cytoplasm));
    row.add(field, "cytoplasm.eosin", other_e / std::max(1.0, cytoplasm));
    const double floor = 0.01 * n;
    row.add(field, "nuclear_cytoplasmic", std::log((static_cast<double>(nuclear) + floor) / (cytoplasm + floor)));
  }

  static void describe_bands(const EncoderField& field, const std::string& name, const Plane& plane, Scratch& s,
                             Row& row) {
    s.level = plane;
    for (Index l = 0; l < field.levels; ++l) {
      const BandTexture texture = band_texture(s.level, s.band);
      const std::string at = name + ".level" + std::to_string(l);
      // The floor is the energy of the rounding of intensities to 8 bits.
      row.add(field.name, at + ".energy", std::log(texture.energy + 0.005));
      row.add(field.name, at + ".coherence", texture.coherence);
      row.add(field.name, at + ".roughness", texture.roughness);
      halve(s.band.smooth, s.next);
      std::swap(s.level, s.next);
    }
  }

  /// Running mean and deviation of a property of nuclei.
  struct Property {
    double sum = 0.0, squares = 0.0;
    void add(double value) {
      sum += value;
      squares += value * value;
    }
    double mean(double n) const { return sum / std::max(1.0, n); }
    double deviation(double n) const {
      return std::sqrt(std::max(0.0, squares / std::max(1.0, n) - mean(n) * mean(n)));
    }
  };

  void describe_nuclei(const std::string& field, double per_pitch, float threshold, Scratch& s, Row& row) const {
    const double radius = std::max(1.0, 0.5 * options_.nucleus_diameter * per_pitch);
    const double expected_area = std::numbers::pi * radius * radius;
    const auto pixels = static_cast<double>(s.haematoxylin.values.size());
    const double square_pitches = pixels / (per_pitch * per_pitch);

    smooth_separable(s.haematoxylin, gaussian_half(std::max(0.4, 0.25 * radius)), s.level, s.band.filter);
    constexpr double clump_area = 4.0;  // in expected areas: what is larger is several nuclei that touch
    Property area, eccentricity, amount;
    double single = 0.0, clumped = 0.0, large = 0.0, round = 0.0;
    for (const NuclearSegment& segment :
         nuclear_segments(s.level, threshold, std::max<Index>(4, static_cast<Index>(0.2 * expected_area)))) {
      if (segment.area > clump_area * expected_area) {
        clumped += segment.area;
        continue;
      }
      single += 1.0;
      area.add(std::log(segment.area / expected_area));
      eccentricity.add(segment.eccentricity);
      amount.add(segment.amount);
      large += segment.area > 1.5 * expected_area ? 1.0 : 0.0;
      round += segment.eccentricity < 0.6 ? 1.0 : 0.0;
    }
    row.add(field, "segments.count", std::sqrt(single / square_pitches));
    row.add(field, "segments.clumped", clumped / pixels);
    row.add(field, "segments.area", area.mean(single));
    row.add(field, "segments.area.deviation", area.deviation(single));
    row.add(field, "segments.eccentricity", eccentricity.mean(single));
    row.add(field, "segments.round", round / std::max(1.0, single));
    row.add(field, "segments.large", large / std::max(1.0, single));
    row.add(field, "segments.amount", amount.mean(single));

    const std::array<double, 3> sigmas{0.5 * radius, 0.75 * radius, 1.1 * radius};
    constexpr double least_response = 0.08;  // of the strong haematoxylin of the image
    const std::vector<NuclearBlob> blobs = nuclear_blobs(s.haematoxylin, sigmas, least_response, s.blob);
    Property elongation, blob_amount, response, distance;
    double small = 0.0, wide = 0.0, elongated = 0.0;
    for (const NuclearBlob& blob : blobs) {
      elongation.add(blob.elongation);
      blob_amount.add(blob.amount);
      response.add(blob.response);
      small += blob.sigma == sigmas.front() ? 1.0 : 0.0;
      wide += blob.sigma == sigmas.back() ? 1.0 : 0.0;
      elongated += blob.elongation > 0.6 ? 1.0 : 0.0;
    }
    const auto count = static_cast<double>(blobs.size());
    for (const Index square : nearest_squares(blobs))
      distance.add(std::sqrt(static_cast<double>(square)) / (2.0 * radius));
    // Alone in the field, a nucleus has its neighbour beyond the border.
    constexpr double far = 7.0;
    row.add(field, "blobs.count", std::sqrt(count / square_pitches));
    row.add(field, "blobs.elongation", elongation.mean(count));
    row.add(field, "blobs.elongation.deviation", elongation.deviation(count));
    row.add(field, "blobs.elongated", elongated / std::max(1.0, count));
    row.add(field, "blobs.amount", blob_amount.mean(count));
    row.add(field, "blobs.amount.deviation", blob_amount.deviation(count));
    row.add(field, "blobs.response", response.mean(count));
    row.add(field, "blobs.small", small / std::max(1.0, count));
    row.add(field, "blobs.large", wide / std::max(1.0, count));
    row.add(field, "blobs.nearest", std::log(count >= 2.0 ? distance.mean(count) : far));
    row.add(field, "blobs.nearest.deviation", distance.deviation(count));
  }

  /// Squared distance of each blob to the nearest other one; nothing for fewer than two. Blobs come ordered by y.
  static std::vector<Index> nearest_squares(const std::vector<NuclearBlob>& blobs) {
    std::vector<Index> nearest;
    if (blobs.size() < 2) return nearest;
    for (std::size_t i = 0; i < blobs.size(); ++i) {
      Index best = std::numeric_limits<Index>::max();
      const auto look = [&](std::size_t j) {
        const Index dx = blobs[j].x - blobs[i].x, dy = blobs[j].y - blobs[i].y;
        if (dy * dy >= best) return false;
        best = std::min(best, dx * dx + dy * dy);
        return true;
      };
      for (std::size_t j = i + 1; j < blobs.size() && look(j); ++j) {
      }
      for (std::size_t j = i; j-- > 0 && look(j);) {
      }
      nearest.push_back(best);
    }
    return nearest;
  }

  PatchEncoderOptions options_;
  std::vector<std::string> names_;
};

}  // namespace eosin::vision
