#pragma once

// Simulated tissue: sections with an H&E-like image, an array of spots with counts, and labelled single cells, all from
// one seed and with the truth known. A model that claims to read composition and expression from an image can be
// checked against it on a machine without data.
//
// The chain of causes, per section:
//
//   territories   smooth Gaussian random fields f_k, one per cell type, on a large and a small scale; shares of the
//                 types at a place: softmax_k( b_k + sharpness * f_k ), b_k the patient's abundance of type k
//   cells         a jittered lattice of sites; a site holds a cell with the probability that its type's density says
//   image         each cell is drawn as a nucleus of its type's size, elongation, haematoxylin and chromatin grain; the
//                 ground is eosin with fibres and cytoplasm of the local types, fat is empty; light is absorbed as
//                 intensity = white * exp(-H h - E e), with white, H, E and strengths of the section, plus noise
//   composition   q_ik = sum over cells n of type k of w_in / sum over all cells of w_in, with
//                 w_in = exp(-d_in^2 / (2 capture^2)) for the distance d_in of cell n from spot i
//   expression    r_ig proportional to sum_k q_ik T_kg * m_g * exp(u_pg): prototypes T (rows sum to 1), modality factor
//                 m_g of spots against single cells, effect u_pg of the patient; rows of r sum to 1
//   counts        y_ig ~ NB(mean = L_i r_ig, variance = mean + a_g mean^2), log L_i normal, with a part that follows
//                 the number of cells under the spot
//   single cells  y_cg ~ NB(mean = S_c T_kg exp(v_bg) (normalised), dispersion a'_g) for cells of type k in batch b
//
// The defaults are set to measurements on sections of HER2-positive breast tumours; docs/simulated-tissue.md compares
// the two. Every random number comes from a Philox stream of its own entity (section, spot, site, cell, gene), so that
// the tissue is the same on any number of threads, and a section does not change when another one is added.

#include <eosin/core/buffer.hpp>
#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/core/random.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/vision/image.hpp>
#include <eosin/vision/stain.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace eosin::sim {

/// How a cell type looks. Lengths are in spot pitches (200 micrometres in the model array), amounts of stain relative
/// to the section's strengths.
struct CellAppearance {
  std::string name;
  double radius = 0.02;       ///< of the nucleus, geometric mean of the half axes
  double elongation = 1.1;    ///< long over short axis
  double haematoxylin = 0.7;  ///< of the nucleus
  double grain = 0.1;         ///< relative deviation of it within the nucleus
  double density = 0.7;       ///< probability that a site of this type holds a cell
  double eosin = 0.35;        ///< of the ground
  double basophilia = 0.05;   ///< haematoxylin of the ground
  double fibres = 0.0;        ///< how far the eosin is drawn out to fibres, 0 to 1
  double vacuole = 0.0;       ///< radius of the empty round that a cell leaves in the ground
  double abundance = 0.0;     ///< b_k of an average patient
};

/// Eight types in the manner of breast tissue.
inline std::vector<CellAppearance> breast_cell_types() {
  return {
      {"tumour", 0.034, 1.25, 0.72, 0.30, 0.80, 0.34, 0.16, 0.0, 0.0, 0.9},
      {"fibroblast", 0.024, 3.2, 0.62, 0.10, 0.34, 0.70, 0.02, 0.8, 0.0, 0.5},
      {"T cell", 0.0195, 1.05, 1.00, 0.08, 0.98, 0.20, 0.04, 0.0, 0.0, 0.0},
      {"plasma cell", 0.023, 1.15, 0.86, 0.20, 0.62, 0.52, 0.24, 0.0, 0.0, 0.1},
      {"macrophage", 0.029, 1.6, 0.46, 0.15, 0.48, 0.28, 0.03, 0.0, 0.035, -0.2},
      {"endothelial", 0.021, 2.5, 0.80, 0.10, 0.50, 0.82, 0.03, 0.2, 0.0, -0.3},
      {"adipocyte", 0.016, 2.0, 0.75, 0.10, 0.14, 0.14, 0.0, 0.0, 0.16, -0.2},
      {"B cell", 0.0215, 1.1, 0.88, 0.12, 0.95, 0.22, 0.10, 0.0, 0.0, -0.2},
  };
}

struct TissueOptions {
  std::uint64_t seed = 1;
  /// Sections S1, S2, ...; consecutive pairs belong to one patient (P1, P2, ...).
  Index sections = 6;
  Index sections_per_patient = 2;
  /// The array; about 0.75 of its places lie under tissue.
  Index columns = 21;
  Index rows = 19;
  /// Pixels between neighbouring spots.
  Index pitch = 112;
  Index genes = 500;
  /// The first `types` of `appearance`.
  Index types = 7;
  std::vector<CellAppearance> appearance = breast_cell_types();
  /// Single cells over all types and batches.
  Index cells = 2100;
  Index batches = 3;

  /// Difficulty of everything at once: multiplies every deviation below that is marked (n). 0 leaves Poisson noise of
  /// counts and the mixing of cells.
  double noise = 1.0;

  double sharpness = 1.45;            ///< of the territories
  double territory = 3.0;             ///< length of the large scale, in pitches
  double mingling = 0.90;             ///< weight of the small scale (0.7 pitches) beside the large one
  double capture = 0.35;              ///< deviation of a spot's catchment, in pitches (lateral diffusion included)
  double log_depth = 7.2;             ///< mean of log L
  double depth_field = 0.65;          ///< (n) deviation of the part of log L that varies smoothly over the section
  double depth_deviation = 0.50;      ///< (n) deviation of the part of log L that nothing explains
  double depth_cellularity = 0.9;     ///< exponent of the number of cells under the spot in L
  double section_depth = 0.35;        ///< (n) deviation of log L between sections
  double dispersion = 0.10;           ///< (n) median of a_g, spots
  double cell_dispersion = 0.40;      ///< (n) median of a'_g, single cells
  double dispersion_spread = 0.7;     ///< (n) deviation of log a_g
  double modality = 0.5;              ///< deviation of log m_g
  double patient_effect = 0.20;       ///< (n) deviation of u_pg
  double batch_effect = 0.30;         ///< (n) deviation of v_bg
  double log_cell_depth = 7.6;        ///< mean of log S
  double cell_depth_deviation = 0.5;  ///< (n)
  double stain_angle = 0.06;          ///< (n) deviation of the stain vectors' components between sections
  double stain_strength = 0.13;       ///< (n) deviation of the log strengths between sections
  double white = 8.0;                 ///< (n) deviation of the illumination between sections, intensity units
  double texture = 0.30;              ///< (n) relative deviation of the ground on the scales of 3 and 12 pixels
  double nuclear_spread = 0.15;       ///< (n) deviation of log size and log haematoxylin between nuclei of a type
  double sensor = 1.5;                ///< (n) deviation of a pixel, intensity units
};

struct SimulatedSection {
  std::string sample;
  std::string patient;
  vision::Image image;
  std::vector<std::string> spots;        ///< N names "XxY"
  std::vector<double> array_x, array_y;  ///< N, position in the array
  std::vector<double> pixel_x, pixel_y;  ///< N, centre in the image
  SparseMatrix<float> counts;            ///< [N x genes]; a spot of small depth may have none (noise of 2 and more)
  Matrix<double> composition;            ///< [N x types], rows sum to 1
  Matrix<float> expression;              ///< [N x genes], r: rows sum to 1
  std::vector<double> depth;             ///< N, L: expected total count
  vision::StainEstimate stain;           ///< as painted
  Index drawn_cells = 0;

  Index size() const { return static_cast<Index>(spots.size()); }
};

struct SimulatedCells {
  SparseMatrix<float> counts;  ///< [cells x genes]
  std::vector<std::string> names;
  std::vector<std::string> type;
  std::vector<std::string> batch;
};

struct SimulatedTissue {
  std::vector<std::string> genes;
  std::vector<std::string> types;
  Matrix<double> prototypes;       ///< [types x genes], T: rows sum to 1
  std::vector<double> modality;    ///< genes, m
  std::vector<double> dispersion;  ///< genes, a
  std::vector<SimulatedSection> sections;
  SimulatedCells cells;
};

namespace detail {

/// One random stream per kind of thing and two numbers of it.
enum class Stream : std::uint64_t {
  gene = 1,
  prototype,
  patient,
  patient_gene,
  section,
  field,
  site,
  spot,
  batch_gene,
  cell,
  lattice,
  pixel
};

inline std::uint64_t stream_of(Stream kind, Index a = 0, Index b = 0) {
  return (static_cast<std::uint64_t>(kind) << 56) | (static_cast<std::uint64_t>(a) << 32) |
         static_cast<std::uint64_t>(b);
}

/// Gaussian random field of deviation 1 and Gaussian covariance of the given length: a sum of random waves.
class SmoothField {
 public:
  SmoothField(RandomStream& random, double length) {
    for (Wave& wave : waves_)
      wave = {random.normal() / length, random.normal() / length, random.uniform(0.0, 2.0 * std::numbers::pi)};
  }
  double operator()(double x, double y) const {
    double sum = 0.0;
    for (const Wave& wave : waves_) sum += std::cos(wave.x * x + wave.y * y + wave.phase);
    return sum * std::sqrt(2.0 / static_cast<double>(waves_.size()));
  }

 private:
  struct Wave {
    double x, y, phase;
  };
  std::array<Wave, 20> waves_;
};

/// Periodic lattice of normal numbers, interpolated.
class NoiseLattice {
 public:
  NoiseLattice(std::uint64_t seed, std::uint64_t stream) : values_(side * side) {
    RandomStream random(seed, stream);
    for (float& v : values_) v = static_cast<float>(random.normal());
  }
  float operator()(double x, double y) const {
    const double fx = std::floor(x), fy = std::floor(y);
    const auto tx = static_cast<float>(x - fx), ty = static_cast<float>(y - fy);
    const std::size_t x0 = wrap(fx), y0 = wrap(fy), x1 = (x0 + 1) % side, y1 = (y0 + 1) % side;
    const float top = values_[y0 * side + x0] * (1.0f - tx) + values_[y0 * side + x1] * tx;
    const float bottom = values_[y1 * side + x0] * (1.0f - tx) + values_[y1 * side + x1] * tx;
    return top * (1.0f - ty) + bottom * ty;
  }

 private:
  static constexpr std::size_t side = 256;
  static std::size_t wrap(double floor_value) {
    return static_cast<std::size_t>(static_cast<long long>(floor_value)) & (side - 1);
  }
  std::vector<float> values_;
};

struct DrawnCell {
  double x, y;  // pixels
  Index type;
};

inline void normalise(std::vector<double>& values) {
  double sum = 0.0;
  for (double v : values) sum += v;
  for (double& v : values) v /= sum;
}

/// One section while it is made.
class SectionMaker {
 public:
  SectionMaker(const TissueOptions& options, const SimulatedTissue& tissue, Index section)
      : o_(options), tissue_(tissue), section_(section), random_(o_.seed, stream_of(Stream::section, section)) {
    const Index patient = section / o_.sections_per_patient;
    RandomStream patient_random(o_.seed, stream_of(Stream::patient, patient));
    for (Index k = 0; k < o_.types; ++k) {
      const CellAppearance& look = o_.appearance[static_cast<std::size_t>(k)];
      abundance_.push_back(look.abundance + 0.3 * patient_random.normal() + 0.2 * random_.normal());
      RandomStream field_random(o_.seed, stream_of(Stream::field, section, k));
      large_.emplace_back(field_random, o_.territory);
      small_.emplace_back(field_random, 0.7);
    }
    outline_.emplace_back(random_, 2.5);
    yield_.emplace_back(random_, 2.0);
    angle_ = random_.uniform(0.0, std::numbers::pi);
    depth_shift_ = o_.noise * o_.section_depth * random_.normal();
    result_.sample = "S" + std::to_string(section + 1);
    result_.patient = "P" + std::to_string(patient + 1);
    patient_ = patient;
    paint_look();
  }

  SimulatedSection make() {
    place_cells();
    paint();
    place_spots();
    count();
    return std::move(result_);
  }

 private:
  double pitch() const { return static_cast<double>(o_.pitch); }
  Index width() const { return (o_.columns + 1) * o_.pitch; }
  Index height() const { return (o_.rows + 1) * o_.pitch; }
  const CellAppearance& look(Index type) const { return o_.appearance[static_cast<std::size_t>(type)]; }

  /// Stains and light of this section.
  void paint_look() {
    vision::StainEstimate& stain = result_.stain;
    stain.estimated = true;
    stain.haematoxylin = {0.77, 0.565, 0.302};
    stain.eosin = {0.40, 0.79, 0.46};
    stain.strength = {2.9, 1.3};
    stain.white = {235, 222, 233};
    for (std::size_t c = 0; c < 3; ++c) {
      // The vectors of haematoxylin vary a quarter as much as those of eosin.
      const double shift_h = 0.25 * o_.noise * o_.stain_angle * random_.normal();
      const double shift_e = o_.noise * o_.stain_angle * random_.normal();
      stain.haematoxylin[c] = std::max(0.05, stain.haematoxylin[c] + shift_h);
      stain.eosin[c] = std::max(0.05, stain.eosin[c] + shift_e);
      stain.white[c] = std::clamp(stain.white[c] + o_.noise * o_.white * random_.normal(), 150.0, 254.0);
    }
    stain.haematoxylin = vision::detail::unit(stain.haematoxylin);
    stain.eosin = vision::detail::unit(stain.eosin);
    for (double& s : stain.strength) s *= std::exp(o_.noise * o_.stain_strength * random_.normal());
  }

  /// Above 0 inside the tissue; x and y in pitches.
  double inside(double x, double y) const {
    const double cx = 0.5 * static_cast<double>(o_.columns + 1), cy = 0.5 * static_cast<double>(o_.rows + 1);
    const double r = std::hypot((x - cx) / (cx - 0.6), (y - cy) / (cy - 0.6));
    return 1.0 - r + 0.10 * outline_.front()(x, y);
  }

  /// Shares of the types at a place in pitches.
  void shares(double x, double y, std::vector<double>& p) const {
    p.resize(static_cast<std::size_t>(o_.types));
    double top = -1e300;
    for (std::size_t k = 0; k < p.size(); ++k) {
      p[k] = abundance_[k] + o_.sharpness * (large_[k](x, y) + o_.mingling * small_[k](x, y)) /
                                 std::sqrt(1.0 + o_.mingling * o_.mingling);
      top = std::max(top, p[k]);
    }
    for (double& v : p) v = std::exp(v - top);
    normalise(p);
  }

  void place_cells() {
    constexpr Index per_pitch = 11;  // 121 sites per square pitch
    const double step = pitch() / static_cast<double>(per_pitch);
    const Index columns = (o_.columns + 1) * per_pitch, rows = (o_.rows + 1) * per_pitch;
    std::vector<double> p;
    for (Index row = 0; row < rows; ++row)
      for (Index column = 0; column < columns; ++column) {
        RandomStream site(o_.seed, stream_of(Stream::site, section_, row * columns + column));
        const double x = (static_cast<double>(column) + site.uniform(0.05, 0.95)) * step;
        const double y = (static_cast<double>(row) + site.uniform(0.05, 0.95)) * step;
        const double u = site.uniform(), kept = site.uniform();
        if (kept > 0.98 || inside(x / pitch(), y / pitch()) <= 0.0) continue;
        shares(x / pitch(), y / pitch(), p);
        Index type = 0;
        double sum = p[0];
        while (type + 1 < o_.types && u > sum) sum += p[static_cast<std::size_t>(++type)];
        if (kept < look(type).density) cells_.push_back({x, y, type});
      }
    result_.drawn_cells = static_cast<Index>(cells_.size());
  }

  /// What the ground consists of at a node of a coarse lattice.
  struct Ground {
    float eosin = 0.0f, haematoxylin = 0.0f, fibres = 0.0f, tissue = 0.0f;
  };

  void paint() {
    const Index w = width(), h = height();
    nuclei_.assign(static_cast<std::size_t>(w * h), 0.0f);
    open_.assign(static_cast<std::size_t>(w * h), 0.0f);
    const NoiseLattice lattice(o_.seed, stream_of(Stream::lattice, section_));
    for (std::size_t i = 0; i < cells_.size(); ++i) draw(static_cast<Index>(i), lattice);

    const Index step = std::max<Index>(1, o_.pitch / 10);
    const Index columns = w / step + 2, rows = h / step + 2;
    std::vector<Ground> ground(static_cast<std::size_t>(columns * rows));
    std::vector<double> p;
    for (Index row = 0; row < rows; ++row)
      for (Index column = 0; column < columns; ++column) {
        const double x = static_cast<double>(column * step) / pitch(), y = static_cast<double>(row * step) / pitch();
        Ground& g = ground[static_cast<std::size_t>(row * columns + column)];
        const double depth = inside(x, y);
        g.tissue = static_cast<float>(std::clamp(0.5 + 40.0 * depth, 0.0, 1.0));
        if (depth < -0.2) continue;
        shares(x, y, p);
        for (std::size_t k = 0; k < p.size(); ++k) {
          const CellAppearance& type = o_.appearance[k];
          g.eosin += static_cast<float>(p[k] * type.eosin);
          g.haematoxylin += static_cast<float>(p[k] * type.basophilia);
          g.fibres += static_cast<float>(p[k] * type.fibres);
        }
      }

    result_.image = vision::Image(w, h);
    const auto& stain = result_.stain;
    const auto texture = static_cast<float>(o_.noise * o_.texture);
    const auto sensor = static_cast<float>(o_.noise * o_.sensor);
    // A tenth of the lattice's scales in pitches, so that the texture follows the magnification.
    const double fine = 10.0 / (0.3 * pitch()), coarse = 10.0 / (1.1 * pitch());
    const double along = 10.0 / (1.4 * pitch()), across = 10.0 / (0.22 * pitch());
    const double cosine = std::cos(angle_), sine = std::sin(angle_);
    const Philox pixel_noise(o_.seed, stream_of(Stream::pixel, section_));
    const float inverse_step = 1.0f / static_cast<float>(step);
    for (Index y = 0; y < h; ++y) {
      const Index row = y / step;
      const float ty = static_cast<float>(y - row * step) * inverse_step;
      for (Index x = 0; x < w; ++x) {
        const Index column = x / step;
        const float tx = static_cast<float>(x - column * step) * inverse_step;
        const Ground* a = &ground[static_cast<std::size_t>(row * columns + column)];
        const Ground* b = a + columns;
        const auto blend = [&](float Ground::*what) {
          const float top = a[0].*what * (1.0f - tx) + a[1].*what * tx;
          const float bottom = b[0].*what * (1.0f - tx) + b[1].*what * tx;
          return top * (1.0f - ty) + bottom * ty;
        };
        const auto at = static_cast<std::size_t>(y * w + x);
        const auto px = static_cast<double>(x), py = static_cast<double>(y);
        const float tissue = blend(&Ground::tissue);
        float amount_h = 0.0f, amount_e = 0.0f;
        if (tissue > 0.0f) {
          const float slow = lattice(px * coarse, py * coarse + 91.0), fast = lattice(px * fine + 37.0, py * fine);
          const float wave = 2.0f * slow;
          const double u = (px * cosine + py * sine) * along;
          const double v = (py * cosine - px * sine) * across + static_cast<double>(wave);
          const float fibre = lattice(u, v);
          const float closed = tissue * (1.0f - open_[at]);
          const float drawn_out = 0.6f * blend(&Ground::fibres) * fibre;
          amount_e = blend(&Ground::eosin) * std::max(0.0f, 1.0f + texture * 0.7f * (slow + fast) + drawn_out);
          amount_h = blend(&Ground::haematoxylin) * std::max(0.0f, 1.0f + texture * (slow + fast));
          // Chromatin takes the place of the eosin under it.
          const float nucleus = nuclei_[at];
          amount_e *= closed * (1.0f - 0.5f * std::min(1.0f, nucleus));
          amount_h = closed * amount_h + tissue * nucleus;
        }
        const auto words = pixel_noise.words(static_cast<std::uint64_t>(at));
        std::uint8_t* rgb = result_.image.at(x, y);
        for (std::size_t c = 0; c < 3; ++c) {
          const auto od = static_cast<float>(stain.strength[0] * stain.haematoxylin[c]) * amount_h +
                          static_cast<float>(stain.strength[1] * stain.eosin[c]) * amount_e;
          // Two uniform halves of a word: triangular, deviation 1 / sqrt(6).
          const float triangle =
              static_cast<float>(words[c] >> 16) * 0x1p-16f + static_cast<float>(words[c] & 0xFFFFu) * 0x1p-16f - 1.0f;
          const float value =
              (static_cast<float>(stain.white[c]) + 1.0f) * std::exp(-od) - 1.0f + sensor * 2.4494897f * triangle;
          rgb[c] = static_cast<std::uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
        }
      }
    }
    nuclei_ = {};
    open_ = {};
  }

  /// Adds the nucleus (and the vacuole) of one cell to the maps.
  void draw(Index index, const NoiseLattice& lattice) {
    const DrawnCell& cell = cells_[static_cast<std::size_t>(index)];
    const CellAppearance& type = look(cell.type);
    // The numbers that placed the site come first in its stream; these continue in one of their own.
    RandomStream random(o_.seed, stream_of(Stream::site, section_, (Index{1} << 31) + index));
    const double spread = o_.noise * o_.nuclear_spread;
    const double radius = type.radius * pitch() * std::exp(spread * random.normal());
    const double amount = type.haematoxylin * std::exp(spread * random.normal());
    const double elongation = std::max(1.0, type.elongation * std::exp(spread * random.normal()));
    const double aligned = type.fibres > 0.0 ? angle_ + 0.35 * random.normal() : random.uniform(0.0, std::numbers::pi);
    double x = cell.x, y = cell.y;
    if (type.vacuole > 0.0) {
      const double r = type.vacuole * pitch() * std::exp(spread * random.normal());
      disc(x, y, r);
      const double where = random.uniform(0.0, 2.0 * std::numbers::pi);
      x += r * std::cos(where);
      y += r * std::sin(where);
    }
    const double a = radius * std::sqrt(elongation), b = radius / std::sqrt(elongation);
    const double cosine = std::cos(aligned), sine = std::sin(aligned);
    over(x, y, a + 1.0, [&](Index px, Index py, double dx, double dy) {
      const double u = (dx * cosine + dy * sine) / a, v = (dy * cosine - dx * sine) / b;
      const double cover = std::clamp(0.5 + b * (1.0 - std::hypot(u, v)), 0.0, 1.0);
      if (cover == 0.0) return;
      const double grain = type.grain * static_cast<double>(lattice(0.7 * static_cast<double>(px) + 11.0,
                                                                    0.7 * static_cast<double>(py)));
      float& there = nuclei_[static_cast<std::size_t>(py * width() + px)];
      there = std::max(there, static_cast<float>(cover * amount * std::max(0.0, 1.0 + grain)));
    });
  }

  void disc(double x, double y, double r) {
    over(x, y, r + 1.0, [&](Index px, Index py, double dx, double dy) {
      const double cover = std::clamp(0.5 + r - std::hypot(dx, dy), 0.0, 1.0);
      float& there = open_[static_cast<std::size_t>(py * width() + px)];
      there = std::max(there, static_cast<float>(0.95 * cover));
    });
  }

  template <class F>
  void over(double x, double y, double reach, F&& f) const {
    const Index x0 = std::max<Index>(0, static_cast<Index>(std::floor(x - reach)));
    const Index x1 = std::min(width() - 1, static_cast<Index>(std::ceil(x + reach)));
    const Index y0 = std::max<Index>(0, static_cast<Index>(std::floor(y - reach)));
    const Index y1 = std::min(height() - 1, static_cast<Index>(std::ceil(y + reach)));
    for (Index py = y0; py <= y1; ++py)
      for (Index px = x0; px <= x1; ++px) f(px, py, static_cast<double>(px) - x, static_cast<double>(py) - y);
  }

  void place_spots() {
    for (Index row = 0; row < o_.rows; ++row)
      for (Index column = 0; column < o_.columns; ++column) {
        RandomStream random(o_.seed, stream_of(Stream::spot, section_, row * o_.columns + column));
        const double x = static_cast<double>(column + 1) + 0.01 * random.normal();
        const double y = static_cast<double>(row + 1) + 0.01 * random.normal();
        if (inside(x, y) < 0.02) continue;
        result_.spots.push_back(std::to_string(column + 1) + "x" + std::to_string(row + 1));
        result_.array_x.push_back(static_cast<double>(column + 1));
        result_.array_y.push_back(static_cast<double>(row + 1));
        result_.pixel_x.push_back(x * pitch());
        result_.pixel_y.push_back(y * pitch());
        places_.push_back(row * o_.columns + column);
      }
  }

  void count() {
    const Index spots = result_.size(), genes = o_.genes;
    result_.composition = Matrix<double>(spots, o_.types);
    std::vector<double> caught(static_cast<std::size_t>(spots), 0.0);
    gather(caught);
    double mean_caught = 0.0;
    for (double c : caught) mean_caught += std::log(c) / static_cast<double>(std::max<Index>(1, spots));

    std::vector<double> factor(static_cast<std::size_t>(genes));
    for (Index g = 0; g < genes; ++g) {
      RandomStream random(o_.seed, stream_of(Stream::patient_gene, patient_, g));
      factor[static_cast<std::size_t>(g)] =
          tissue_.modality[static_cast<std::size_t>(g)] * std::exp(o_.noise * o_.patient_effect * random.normal());
    }
    result_.expression = Matrix<float>(spots, genes);
    result_.depth.resize(static_cast<std::size_t>(spots));
    std::vector<Triplet<float>> entries;
    std::vector<double> r(static_cast<std::size_t>(genes));
    for (Index i = 0; i < spots; ++i) {
      for (Index g = 0; g < genes; ++g) {
        double sum = 0.0;
        for (Index k = 0; k < o_.types; ++k) sum += result_.composition(i, k) * tissue_.prototypes(k, g);
        r[static_cast<std::size_t>(g)] = sum * factor[static_cast<std::size_t>(g)];
      }
      normalise(r);
      RandomStream random(o_.seed,
                          stream_of(Stream::spot, section_, (Index{1} << 31) + places_[static_cast<std::size_t>(i)]));
      const auto spot = static_cast<std::size_t>(i);
      const double explained = o_.depth_cellularity * (std::log(caught[spot]) - mean_caught);
      const double field = o_.depth_field * yield_.front()(result_.array_x[spot], result_.array_y[spot]);
      const double depth =
          std::exp(o_.log_depth + depth_shift_ + explained + o_.noise * (field + o_.depth_deviation * random.normal()));
      result_.depth[spot] = depth;
      for (Index g = 0; g < genes; ++g) {
        const auto at = static_cast<std::size_t>(g);
        result_.expression(i, g) = static_cast<float>(r[at]);
        const auto y = random.negative_binomial(depth * r[at], o_.noise * tissue_.dispersion[at]);
        if (y > 0) entries.push_back({i, g, static_cast<float>(y)});
      }
    }
    result_.counts = SparseMatrix<float>::from_triplets(spots, genes, entries);
  }

  /// Composition of every spot from the cells around it, and their weight. A trace of the territory's own shares keeps
  /// spots without a cell defined.
  void gather(std::vector<double>& caught) {
    const double deviation = o_.capture * pitch(), reach = 3.0 * deviation;
    // Cells come in rows of sites, so that those near a spot are found by their y.
    std::vector<double> p;
    for (Index i = 0; i < result_.size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double x = result_.pixel_x[at], y = result_.pixel_y[at];
      shares(x / pitch(), y / pitch(), p);
      for (Index k = 0; k < o_.types; ++k)
        result_.composition(i, k) = 0.1 * p[static_cast<std::size_t>(k)] * look(k).density;
      const double site = pitch() / 11.0;
      const auto row_before = [site](const DrawnCell& c, double limit) {
        return std::floor(c.y / site) * site < limit;
      };
      auto cell = std::lower_bound(cells_.begin(), cells_.end(), y - reach - site, row_before);
      for (; cell != cells_.end() && cell->y < y + reach + site; ++cell) {
        const double dx = cell->x - x, dy = cell->y - y, square = dx * dx + dy * dy;
        if (square > reach * reach) continue;
        result_.composition(i, cell->type) += std::exp(-0.5 * square / (deviation * deviation));
      }
      double sum = 0.0;
      for (Index k = 0; k < o_.types; ++k) sum += result_.composition(i, k);
      caught[at] = sum;
      for (Index k = 0; k < o_.types; ++k) result_.composition(i, k) /= sum;
    }
  }

  const TissueOptions& o_;
  const SimulatedTissue& tissue_;
  Index section_;
  Index patient_ = 0;
  RandomStream random_;
  std::vector<double> abundance_;
  std::vector<SmoothField> large_, small_, outline_, yield_;
  double angle_ = 0.0;
  double depth_shift_ = 0.0;
  std::vector<DrawnCell> cells_;
  std::vector<float> nuclei_, open_;
  std::vector<Index> places_;
  SimulatedSection result_;
};

inline void make_genes(const TissueOptions& o, SimulatedTissue& tissue) {
  tissue.prototypes = Matrix<double>(o.types, o.genes);
  for (Index g = 0; g < o.genes; ++g) {
    RandomStream random(o.seed, stream_of(Stream::gene, g));
    tissue.genes.push_back("gene" + std::to_string(g + 1));
    tissue.modality.push_back(std::exp(o.modality * random.normal()));
    tissue.dispersion.push_back(o.dispersion * std::exp(o.noise * o.dispersion_spread * random.normal()));
    const double level = 1.1 * random.normal();
    // Two genes in five are markers: of one type, or of two.
    const double kind = random.uniform();
    const Index first = random.below(o.types), second = random.below(o.types);
    const double change = std::abs(random.normal(2.0, 0.6));
    for (Index k = 0; k < o.types; ++k) {
      double value = level + 0.25 * random.normal();
      if (kind < 0.40 && k == first) value += change;
      if (kind < 0.15 && k == second && second != first) value += 0.7 * change;
      tissue.prototypes(k, g) = std::exp(value);
    }
  }
  for (Index k = 0; k < o.types; ++k) {
    tissue.types.push_back(o.appearance[static_cast<std::size_t>(k)].name);
    double sum = 0.0;
    for (Index g = 0; g < o.genes; ++g) sum += tissue.prototypes(k, g);
    for (Index g = 0; g < o.genes; ++g) tissue.prototypes(k, g) /= sum;
  }
}

inline void make_cells(CpuContext& context, const TissueOptions& o, SimulatedTissue& tissue) {
  SimulatedCells& cells = tissue.cells;
  Matrix<double> effect(o.batches, o.genes);
  for (Index b = 0; b < o.batches; ++b)
    for (Index g = 0; g < o.genes; ++g) {
      RandomStream random(o.seed, stream_of(Stream::batch_gene, b, g));
      effect(b, g) = std::exp(o.noise * o.batch_effect * random.normal());
    }
  std::vector<std::vector<Triplet<float>>> entries(static_cast<std::size_t>(o.cells));
  std::vector<Index> type(entries.size()), batch(entries.size());
  context.parallel_for(o.cells, 16, [&](Index begin, Index end) {
    std::vector<double> r(static_cast<std::size_t>(o.genes));
    for (Index c = begin; c < end; ++c) {
      const auto at = static_cast<std::size_t>(c);
      RandomStream random(o.seed, stream_of(Stream::cell, c));
      // Every type is in every batch, though in different numbers.
      type[at] = c % o.types;
      batch[at] = random.uniform() < 0.5 ? (c / o.types) % o.batches : (type[at] + random.below(2)) % o.batches;
      for (Index g = 0; g < o.genes; ++g)
        r[static_cast<std::size_t>(g)] = tissue.prototypes(type[at], g) * effect(batch[at], g);
      normalise(r);
      const double depth = std::exp(o.log_cell_depth + o.noise * o.cell_depth_deviation * random.normal());
      for (Index g = 0; g < o.genes; ++g) {
        const auto gene = static_cast<std::size_t>(g);
        const double dispersion = o.noise * o.cell_dispersion * tissue.dispersion[gene] / o.dispersion;
        const auto y = random.negative_binomial(depth * r[gene], dispersion);
        if (y > 0) entries[at].push_back({c, g, static_cast<float>(y)});
      }
    }
  });
  std::vector<Triplet<float>> all;
  for (std::size_t c = 0; c < entries.size(); ++c) {
    all.insert(all.end(), entries[c].begin(), entries[c].end());
    cells.names.push_back("cell" + std::to_string(c + 1));
    cells.type.push_back(tissue.types[static_cast<std::size_t>(type[c])]);
    cells.batch.push_back("batch" + std::to_string(batch[c] + 1));
  }
  cells.counts = SparseMatrix<float>::from_triplets(o.cells, o.genes, all);
}

}  // namespace detail

/// Makes the tissue. Throws ValueError for options out of range. Cost with the defaults: a few seconds on one core,
/// 200 MB; sections are made in parallel.
inline SimulatedTissue simulate_tissue(CpuContext& context, const TissueOptions& options = {}) {
  const auto within = [](Index value, Index low, Index high, const char* name) {
    require_value(value >= low && value <= high, "simulate_tissue",
                  std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
                      std::to_string(high));
  };
  within(options.sections, 1, 10000, "sections");
  within(options.sections_per_patient, 1, 10000, "sections_per_patient");
  within(options.columns, 2, 200, "columns");
  within(options.rows, 2, 200, "rows");
  within(options.pitch, 16, 512, "pitch");
  within(options.genes, 1, 100000, "genes");
  within(options.types, 1, static_cast<Index>(options.appearance.size()), "types");
  within(options.cells, 0, 10000000, "cells");
  within(options.batches, 1, 1000, "batches");
  for (const double v : {options.noise,
                         options.depth_field,
                         options.depth_deviation,
                         options.section_depth,
                         options.dispersion,
                         options.cell_dispersion,
                         options.dispersion_spread,
                         options.modality,
                         options.patient_effect,
                         options.batch_effect,
                         options.cell_depth_deviation,
                         options.stain_angle,
                         options.stain_strength,
                         options.white,
                         options.texture,
                         options.nuclear_spread,
                         options.sensor,
                         options.mingling,
                         options.sharpness,
                         options.depth_cellularity})
    require_value(v >= 0.0 && v <= 100.0, "simulate_tissue", "a deviation lies outside [0, 100]");
  require_value(options.dispersion > 0.0, "simulate_tissue", "dispersion is 0; set noise to 0 for Poisson counts");
  require_value(options.territory > 0.0 && options.capture > 0.0 && options.capture <= 2.0, "simulate_tissue",
                "territory and capture are positive lengths, capture at most 2 pitches");
  require_value(std::abs(options.log_depth) <= 20.0 && std::abs(options.log_cell_depth) <= 20.0, "simulate_tissue",
                "a log depth lies outside [-20, 20]");

  SimulatedTissue tissue;
  detail::make_genes(options, tissue);
  tissue.sections.resize(static_cast<std::size_t>(options.sections));
  context.parallel_for(options.sections, 1, [&](Index begin, Index end) {
    for (Index s = begin; s < end; ++s)
      tissue.sections[static_cast<std::size_t>(s)] = detail::SectionMaker(options, tissue, s).make();
  });
  detail::make_cells(context, options, tissue);
  return tissue;
}

}  // namespace eosin::sim
