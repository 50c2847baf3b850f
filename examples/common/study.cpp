#include "common/study.hpp"

#include "common/gene_list.hpp"

#include <eosin/data/gene_filter.hpp>
#include <eosin/data/manifest.hpp>
#include <eosin/data/normalisation.hpp>
#include <eosin/data/section.hpp>
#include <eosin/io/image.hpp>
#include <eosin/io/text.hpp>
#include <eosin/vision/patch_encoder.hpp>
#include <eosin/vision/patches.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <type_traits>
#include <utility>

namespace study {

std::uint64_t training_fingerprint(const Study& study, bool places) {
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&](const void* memory, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(memory);
    for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ at[i]) * 1099511628211u;
  };
  const auto add_text = [&](const std::string& text) { add(text.c_str(), text.size() + 1); };
  const auto add_matrix = [&](const auto& matrix) {
    const Index shape[] = {matrix.rows(), matrix.cols()};
    add(shape, sizeof shape);
    add(matrix.data(), static_cast<std::size_t>(matrix.size()) * sizeof(*matrix.data()));
  };
  for (const auto& gene : study.genes) add_text(gene);
  for (const auto* names : {&study.split.train, &study.split.validate})
    for (const auto* sample : study.of(*names)) {
      add_text(sample->name);
      for (const auto& type : sample->types) add_text(type);
      add_matrix(sample->counts);
      add_matrix(sample->expression);
      add_matrix(sample->features);
      add_matrix(sample->slide_features);
      add_matrix(sample->composition);
      if (!places) continue;
      for (const auto* coordinates : {&sample->array_x, &sample->array_y})
        add(coordinates->data(), coordinates->size() * sizeof(Index));
      for (const auto* coordinates : {&sample->x, &sample->y})
        add(coordinates->data(), coordinates->size() * sizeof(double));
      if (sample->image) {
        const Index size[] = {sample->image->width, sample->image->height};
        add(size, sizeof size);
        add(sample->image->pixels.data(), sample->image->pixels.size());
      }
    }
  return hash;
}

namespace {

void say(const LoadOptions& options, const std::string& text) {
  if (options.log) options.log(text);
}

/// A section without counts: only the places of its spots.
eosin::data::Section load_places(const eosin::data::ManifestRow& row, bool features) {
  if (row.spots.empty()) throw eosin::ParseError(row.place + ": column spots: sample " + row.sample + " names no file");
  auto spots = eosin::data::detail::read_spots(row.spots);
  eosin::data::Section section;
  section.sample = row.sample;
  section.patient = row.patient;
  section.image = row.image;
  section.spots = std::move(spots.names);
  section.array_x = std::move(spots.x);
  section.array_y = std::move(spots.y);
  section.pixel_x = std::move(spots.pixel_x);
  section.pixel_y = std::move(spots.pixel_y);
  if (section.spots.empty()) throw eosin::ParseError(row.spots.string() + ": no spot is selected");
  if (features && !row.features.empty()) section.features = eosin::io::read_features(row.features);
  return section;
}

/// Leaves only the given spots.
void keep_spots(eosin::data::Section& section, const std::vector<Index>& keep) {
  const auto pick = [&](auto& values) {
    if (values.empty()) return;
    std::remove_reference_t<decltype(values)> kept;
    for (const Index i : keep) kept.push_back(values[static_cast<std::size_t>(i)]);
    values = std::move(kept);
  };
  pick(section.spots);
  pick(section.array_x);
  pick(section.array_y);
  pick(section.pixel_x);
  pick(section.pixel_y);
  pick(section.has_composition);
  pick(section.labels);
  if (!section.genes.empty()) section.counts = section.counts.select_rows(keep);
  if (!section.composition.empty()) {
    Matrix<double> composition(static_cast<Index>(keep.size()), section.composition.cols());
    for (std::size_t i = 0; i < keep.size(); ++i)
      std::copy_n(section.composition.row(keep[i]).data(), composition.cols(),
                  composition.row(static_cast<Index>(i)).data());
    section.composition = std::move(composition);
  }
}

/// Brings the compositions of all sections to the cell types of the first one that has some. Among the first `needed`
/// sections (training and validation) other types are an error, after them a composition of other types is dropped.
void align_types(std::vector<eosin::data::Section>& sections, std::size_t needed, const eosin::data::Manifest& manifest,
                 std::vector<std::string>& notes) {
  const eosin::data::Section* first = nullptr;
  for (std::size_t s = 0; s < sections.size(); ++s) {
    auto& section = sections[s];
    if (section.types.empty()) continue;
    const auto file = manifest.at(section.sample).composition.string();
    if (std::find(section.has_composition.begin(), section.has_composition.end(), 1) == section.has_composition.end())
      throw eosin::ParseError(file + ": the proportions of every spot of " + section.sample + " sum to 0");
    if (first == nullptr) first = &section;
    if (section.types == first->types) continue;
    Matrix<double> aligned(section.size(), static_cast<Index>(first->types.size()));
    std::string unmatched = section.types.size() > first->types.size() ? "more types" : "";
    for (std::size_t t = 0; t < first->types.size() && unmatched.empty(); ++t) {
      const auto found = std::find(section.types.begin(), section.types.end(), first->types[t]);
      if (found == section.types.end()) {
        unmatched = "no type '" + first->types[t] + "'";
        break;
      }
      for (Index i = 0; i < section.size(); ++i)
        aligned(i, static_cast<Index>(t)) = section.composition(i, found - section.types.begin());
    }
    if (unmatched.empty()) {
      section.types = first->types;
      section.composition = std::move(aligned);
    } else if (s < needed) {
      throw eosin::ParseError(file + ": has " + unmatched + ", unlike the composition of sample " + first->sample);
    } else {
      notes.push_back("The composition of sample " + section.sample + " has " + unmatched + ", unlike that of sample " +
                      first->sample + ", and is not judged.");
      section.types.clear();
      section.composition = {};
      section.has_composition.clear();
    }
  }
}

}  // namespace

namespace detail {

void make_thumbnail(CpuContext& context, Sample& sample, const eosin::vision::Image& image) {
  Index reduction = 1;
  while (reduction < 8 && std::max(image.width, image.height) / reduction > 1200) reduction *= 2;
  sample.thumbnail = eosin::vision::reduce_image(context, image, reduction);
  sample.thumbnail_scale = static_cast<double>(sample.thumbnail.width) / static_cast<double>(image.width);
}

}  // namespace detail

namespace {

/// The features of one sample, from its feature file or from its image, not standardised; spots without features are
/// dropped from `section` (and said to the log). Fills the thumbnail and, where asked for, the image.
Matrix<float> sample_features(CpuContext& context, eosin::data::Section& section, Sample& sample,
                              const LoadOptions& options, std::vector<std::string>& names) {
  bool apart = false;  // spots at one place have no pitch
  for (std::size_t i = 1; i < section.pixel_x.size(); ++i)
    apart = apart || section.pixel_x[i] != section.pixel_x[0] || section.pixel_y[i] != section.pixel_y[0];
  const double pitch = apart ? section.spot_pitch() : 0;
  const double edge = options.patch_size > 0 ? options.patch_size : pitch;
  if (!(edge > 0) && (options.encode || options.keep_images) && !(section.features && section.features->by_name()))
    throw eosin::ParseError(options.manifest.string() + ": sample " + sample.name +
                            " has spots at one place only, so its patches have no size; --patch-size gives one");
  sample.pitch = pitch;
  std::shared_ptr<const eosin::vision::Image> image;
  if (!section.image.empty()) {
    image = std::make_shared<const eosin::vision::Image>(eosin::io::read_image(section.image));
    detail::make_thumbnail(context, sample, *image);
  }
  if (options.require_images && !image)
    throw eosin::ParseError(options.manifest.string() + ": sample " + sample.name + " has no image");
  if (options.keep_images) sample.image = image;
  std::vector<eosin::vision::Point> centres;
  for (std::size_t i = 0; i < section.spots.size(); ++i) centres.push_back({section.pixel_x[i], section.pixel_y[i]});
  const auto on_image = [&](auto work) {
    try {
      return work();
    } catch (const eosin::ValueError& error) {
      throw eosin::ParseError(section.image.string() + ": " + error.what());
    }
  };
  if (sample.image) on_image([&] { eosin::vision::require_centres(*image, centres, section.spots); });
  if (!options.encode) return Matrix<float>(section.size(), 0);
  if (section.features) {
    const auto& features = *section.features;
    names = features.columns;
    names.resize(static_cast<std::size_t>(features.dimension()));
    for (std::size_t i = features.columns.size(); i < names.size(); ++i) names[i] = "feature" + std::to_string(i);
    if (options.slide_level) sample.slide_features = features.values;
    // Coordinates are the upper left corners of patches, as CLAM writes them.
    const auto rows = eosin::data::feature_rows(section, {.radius = edge / 2, .offset = edge / 2});
    std::vector<Index> keep;
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i] >= 0) keep.push_back(static_cast<Index>(i));
    Matrix<float> values(static_cast<Index>(keep.size()), features.dimension());
    for (std::size_t i = 0; i < keep.size(); ++i)
      std::copy_n(features.values.row(rows[static_cast<std::size_t>(keep[i])]).data(), features.dimension(),
                  values.row(static_cast<Index>(i)).data());
    if (keep.size() < rows.size()) {
      say(options, sample.name + ": " + std::to_string(rows.size() - keep.size()) + " spots without features dropped");
      keep_spots(section, keep);
    }
    return values;
  }
  if (!image)
    throw eosin::ParseError(options.manifest.string() + ": sample " + sample.name +
                            " has neither an image nor features");
  return on_image([&] {
    const eosin::vision::PatchEncoder encoder;
    names = encoder.feature_names();
    return encoder.encode(context, *image, centres, edge, section.spots);
  });
}

}  // namespace

Study load_study(CpuContext& context, const LoadOptions& options) {
  const auto manifest = eosin::data::read_manifest(options.manifest);
  std::vector<eosin::data::SampleIdentity> identities;
  for (const auto& row : manifest.rows) identities.push_back({row.sample, row.patient});
  Study study;
  study.source = options.manifest.string();
  for (const auto* names : {&options.train, &options.validate, &options.test})
    for (const auto& name : *names) static_cast<void>(manifest.at(name));
  const bool training = !options.train.empty();
  if (training) {
    study.split = eosin::data::make_split(identities, options.train, options.validate, options.test);
    for (const auto& leak : eosin::data::find_leaks(identities, study.split))
      study.notes.push_back("Shared patient: " + leak.text() + ".");
  } else {
    study.split.test = options.test;
  }

  std::vector<eosin::data::Section> sections;
  const auto load = [&](const std::vector<std::string>& names, bool needs_counts) {
    for (const auto& name : names) {
      const auto& row = manifest.at(name);
      sections.push_back(needs_counts || !row.counts.empty()
                             ? eosin::data::load_section(row, {.features = options.encode}, options.log)
                             : load_places(row, options.encode));
    }
  };
  load(study.split.train, true);
  load(study.split.validate, true);
  load(study.split.test, training);

  align_types(sections, study.split.train.size() + study.split.validate.size(), manifest, study.notes);

  // Genes: from the training sections only.
  if (!options.genes.empty()) {
    study.genes = options.genes;
  } else {
    std::vector<std::vector<std::string>> available;
    for (std::size_t i = 0; i < study.split.train.size(); ++i) available.push_back(sections[i].genes);
    const auto common = eosin::data::common_genes(available);
    if (common.empty())
      throw eosin::ParseError(options.manifest.string() + ": the training samples have no gene in common");
    if (!options.genes_file.empty()) {
      const auto wanted = common::read_gene_list(options.genes_file);
      const auto selection = eosin::data::select_genes(common, wanted, options.genes_file.string());
      for (const Index g : selection.columns) study.genes.push_back(common[static_cast<std::size_t>(g)]);
      if (!selection.missing.empty())
        study.notes.push_back(std::to_string(selection.missing.size()) + " of " + std::to_string(wanted.size()) +
                              " listed genes are not in every training sample and were left out.");
    } else {
      eosin::data::HighlyVariableGenes variable(static_cast<Index>(common.size()));
      const auto used = options.variable_with_test ? sections.size() : study.split.train.size();
      for (std::size_t i = 0; i < used; ++i)
        variable.add(context, sections[i].counts.select_columns(
                                  eosin::data::require_genes(sections[i].genes, common, sections[i].sample)));
      auto columns = variable.select(std::min(options.highly_variable, static_cast<Index>(common.size())));
      std::sort(columns.begin(), columns.end());
      for (const Index g : columns) study.genes.push_back(common[static_cast<std::size_t>(g)]);
    }
  }

  for (auto& section : sections) {
    Sample sample;
    sample.name = section.sample;
    sample.patient = section.patient;
    sample.measured = !section.genes.empty();
    std::vector<std::string> names;
    sample.features = sample_features(context, section, sample, options, names);
    if (study.feature_names.empty()) study.feature_names = names;
    const auto features_file = section.features ? section.features->file : section.image.string();
    if (names.size() != study.feature_names.size())
      throw eosin::ParseError(features_file + ": sample " + sample.name + " has " + std::to_string(names.size()) +
                              " features, the samples before it have " + std::to_string(study.feature_names.size()));
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] != study.feature_names[i])
        throw eosin::ParseError(features_file + ": feature " + std::to_string(i + 1) + " is '" + names[i] +
                                "', that of the samples before it is '" + study.feature_names[i] + "'");
    sample.spots = section.spots;
    sample.x = section.pixel_x;
    sample.y = section.pixel_y;
    for (const double x : section.array_x) sample.array_x.push_back(std::llround(x));
    for (const double y : section.array_y) sample.array_y.push_back(std::llround(y));
    sample.annotation = section.labels;
    sample.types = section.types;
    sample.composition = section.composition;
    sample.has_composition = section.has_composition;
    if (sample.measured) {
      const auto totals = section.counts.row_sums();
      sample.library = Vector<double>(sample.size());
      for (Index i = 0; i < sample.size(); ++i)
        sample.library[i] = static_cast<double>(totals[static_cast<std::size_t>(i)]);
      const auto selection = eosin::data::select_genes(section.genes, study.genes, sample.name);
      sample.counts = Matrix<float>(sample.size(), static_cast<Index>(study.genes.size()));
      if (!selection.missing.empty())
        study.notes.push_back("Sample " + sample.name + " lacks " + std::to_string(selection.missing.size()) +
                              " of the selected genes; they count as 0 there and their correlations are undefined.");
      std::map<std::string, Index> place;
      for (std::size_t g = 0; g < study.genes.size(); ++g) place[study.genes[g]] = static_cast<Index>(g);
      std::vector<Index> column(section.genes.size(), -1);
      for (std::size_t g = 0; g < section.genes.size(); ++g)
        if (const auto found = place.find(section.genes[g]); found != place.end()) column[g] = found->second;
      for (Index r = 0; r < sample.size(); ++r) {
        const auto row = section.counts.row(r);
        for (std::size_t k = 0; k < row.columns.size(); ++k)
          if (const Index to = column[static_cast<std::size_t>(row.columns[k])]; to >= 0)
            sample.counts(r, to) = row.values[k];
      }
      if (std::none_of(sample.counts.data(), sample.counts.data() + sample.counts.size(),
                       [](float count) { return count > 0; }))
        throw eosin::ParseError(manifest.at(sample.name).counts.string() + ": has no count of the selected genes");
    }
    study.samples.push_back(std::move(sample));
  }
  return study;
}

std::optional<eosin::data::Standardiser> standardise_features(CpuContext& context, Study& study, Standardisation kind) {
  if (study.feature_names.empty()) return std::nullopt;
  const auto apply = [&](const eosin::data::Standardiser& standardiser, Matrix<float>& features) {
    if (!features.empty()) standardiser.apply(context, features.view(), features.view());
  };
  if (kind == Standardisation::training) {
    std::vector<MatrixView<const float>> views;
    for (const auto& name : study.split.train) views.push_back(study.at(name).patches());
    const auto standardiser =
        eosin::data::Standardiser::fit<float>(context, std::span<const MatrixView<const float>>(views));
    for (auto& sample : study.samples) {
      apply(standardiser, sample.features);
      apply(standardiser, sample.slide_features);
    }
    return standardiser;
  }
  for (auto& sample : study.samples) {
    const auto standardiser = eosin::data::Standardiser::fit(context, sample.patches());
    apply(standardiser, sample.features);
    apply(standardiser, sample.slide_features);
  }
  return std::nullopt;
}

void standardise_as_trained(CpuContext& context, Study& study, const std::vector<std::string>& names,
                            const std::optional<eosin::data::Standardiser>& standardiser) {
  if (study.feature_names != names)
    throw eosin::ParseError(study.source + ": the samples' features are not those of the model (" +
                            std::to_string(study.feature_names.size()) + " against " + std::to_string(names.size()) +
                            " names)");
  if (!standardiser) {
    standardise_features(context, study, Standardisation::section);
    return;
  }
  for (auto& sample : study.samples)
    for (auto* features : {&sample.features, &sample.slide_features})
      if (!features->empty()) standardiser->apply(context, features->view(), features->view());
}

void normalise_expression(CpuContext& context, Study& study) {
  for (auto& sample : study.samples) {
    if (!sample.measured) continue;
    sample.expression = Matrix<float>(sample.counts.rows(), sample.counts.cols());
    eosin::data::normalise(context, sample.counts.view(), sample.expression.view(), {.target = normalisation_target},
                           sample.library);
  }
}

}  // namespace study
