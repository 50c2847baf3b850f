#include "common/simulated_study.hpp"

#include <eosin/sim/tissue.hpp>
#include <eosin/vision/patch_encoder.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

namespace study {

SimulatedStudy simulate_study(CpuContext& context, const SimulationOptions& options) {
  eosin::sim::TissueOptions tissue_options;
  tissue_options.seed = options.seed;
  tissue_options.noise = options.noise;
  auto tissue = eosin::sim::simulate_tissue(context, tissue_options);

  SimulatedStudy result;
  Study& study = result.study;
  study.genes = tissue.genes;
  study.types = tissue.types;
  study.simulated = true;
  study.source = "simulated tissue, seed " + std::to_string(options.seed);
  std::vector<eosin::data::SampleIdentity> identities;
  for (const auto& section : tissue.sections) identities.push_back({section.sample, section.patient});
  auto train = options.train;
  auto test = options.test;
  if (train.empty() && test.empty() && options.validate.empty()) {
    const auto& held_out = identities.back().patient;
    for (const auto& identity : identities) (identity.patient == held_out ? test : train).push_back(identity.sample);
  }
  study.split = eosin::data::make_split(identities, train, options.validate, test);
  for (const auto& leak : eosin::data::find_leaks(identities, study.split))
    study.notes.push_back("Shared patient: " + leak.text() + ".");
  study.notes.push_back("The tissue is simulated; the reference compositions are its truth.");

  const eosin::vision::PatchEncoder encoder;
  if (options.encode) study.feature_names = encoder.feature_names();
  for (auto& section : tissue.sections) {
    const auto used = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), section.sample) != names.end();
    };
    if (!used(study.split.train) && !used(study.split.validate) && !used(study.split.test)) continue;
    Sample sample;
    sample.name = section.sample;
    sample.patient = section.patient;
    // As in measured tissue, spots without counts are dropped.
    const auto totals = section.counts.row_sums();
    std::vector<Index> keep;
    for (std::size_t i = 0; i < totals.size(); ++i)
      if (totals[i] > 0) keep.push_back(static_cast<Index>(i));
    if (keep.empty())
      throw eosin::ValueError("simulated section " + section.sample + " has no counts: the noise is too large");
    if (keep.size() < totals.size())
      study.notes.push_back(section.sample + ": " + std::to_string(totals.size() - keep.size()) +
                            " spots without counts were dropped.");
    const auto kept = static_cast<Index>(keep.size());
    sample.library = Vector<double>(kept);
    sample.composition = Matrix<double>(kept, section.composition.cols());
    for (Index k = 0; k < kept; ++k) {
      const auto i = static_cast<std::size_t>(keep[static_cast<std::size_t>(k)]);
      sample.spots.push_back(section.spots[i]);
      sample.x.push_back(section.pixel_x[i]);
      sample.y.push_back(section.pixel_y[i]);
      sample.array_x.push_back(std::llround(section.array_x[i]));
      sample.array_y.push_back(std::llround(section.array_y[i]));
      sample.library[k] = static_cast<double>(totals[i]);
      std::copy_n(section.composition.row(static_cast<Index>(i)).data(), section.composition.cols(),
                  sample.composition.row(k).data());
    }
    sample.pitch = static_cast<double>(tissue_options.pitch);
    std::vector<eosin::vision::Point> centres;
    for (std::size_t i = 0; i < sample.spots.size(); ++i) centres.push_back({sample.x[i], sample.y[i]});
    sample.features = options.encode ? encoder.encode(context, section.image, centres, sample.pitch, sample.spots)
                                     : Matrix<float>(kept, 0);
    detail::make_thumbnail(context, sample, section.image);
    if (options.keep_images) sample.image = std::make_shared<const eosin::vision::Image>(std::move(section.image));
    sample.counts = section.counts.select_rows(keep).dense();
    sample.types = tissue.types;
    sample.has_composition.assign(keep.size(), 1);
    study.samples.push_back(std::move(sample));
  }
  result.cells = std::move(tissue.cells.counts);
  result.cell_type = std::move(tissue.cells.type);
  result.cell_batch = std::move(tissue.cells.batch);
  return result;
}

}  // namespace study
