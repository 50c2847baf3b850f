// cpnn run|predict: cell-type prototype-informed prediction of gene expression from histology.
// `cpnn run --help` and `cpnn predict --help` list every option.

#include "run.hpp"

#include "common/command_line.hpp"
#include "common/interrupt.hpp"

#include <eosin/core/version.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <string>

namespace {

using common::choice;
using common::command_of;
using common::not_negative;
using common::optional_choice;
using common::optional_number;
using common::positive;
using common::some;
using common::thread_count;
using cpnn::Settings;

const CLI::Validator width = common::in_range(1, 1e6, "POSITIVE");

const cpnn::Words<bool> on_off{{"on", true}, {"off", false}};

void add_run_options(CLI::App& app, Settings& s) {
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help) {
    return app.add_option(name, target, help)->delimiter(',')->type_name("A,B,...");
  };
  app.add_option("--samples", s.samples, "manifest: CSV with sample,patient,counts,spots,image,features,composition")
      ->type_name("FILE");
  app.add_option_function<std::vector<std::uint64_t>>(
         "--simulate", [&s](const std::vector<std::uint64_t>& seed) { s.simulate = seed.empty() ? 1 : seed.front(); },
         "in place of --samples: a simulated tissue from this seed [default seed: 1]")
      ->expected(0, 1)
      ->type_name("[SEED]");
  app.add_option("--noise", s.noise, "difficulty of the simulation: 0 clean, 1 as measured tissue")
      ->capture_default_str()
      ->check(not_negative);
  choice(app, "--level", s.level, cpnn::level_words, "expression per patch (spot), or per slide");
  list("--train", s.train, "training samples");
  list("--validate", s.validate, "validation samples (none: training samples take turns)");
  list("--test", s.test, "test samples, never used in training");
  app.add_option("--genes", s.genes, "gene list, one per line (none: highly variable genes)")->type_name("FILE");
  app.add_option("--hvg", s.highly_variable, "number of highly variable genes of the training samples")
      ->capture_default_str()
      ->check(some);
  app.add_option("--patch-size", s.patch_size,
                 "edge of a patch in pixels, also of those in CLAM feature files (0: the measured spot pitch)")
      ->capture_default_str()
      ->check(not_negative);
  choice(app, "--standardise", s.standardisation, cpnn::standardisation_words,
         "features to mean 0, deviation 1 by each section or by the training sections");

  app.add_option_function<std::string>(
         "--prototypes",
         [&s](const std::string& word) {
           static const std::map<std::string, cpnn::PrototypeSource> words{
               {"soft-labels", cpnn::PrototypeSource::soft_labels},
               {"cells", cpnn::PrototypeSource::cells},
               {"naive-means", cpnn::PrototypeSource::naive_means},
               {"scratch", cpnn::PrototypeSource::scratch}};
           const auto found = words.find(word);
           s.source = found == words.end() ? cpnn::PrototypeSource::folder : found->second;
           if (found == words.end()) s.prototype_folder = word;
         },
         "folder with prototypes.csv, or where they come from [default: soft-labels where training samples have "
         "compositions, cells with --simulate, else scratch]")
      ->type_name("DIR|soft-labels|cells|naive-means|scratch");
  app.add_option("--types", s.types, "number of cell types from scratch")->capture_default_str()->check(width);
  choice(app, "--mask", s.mask, on_off, "a gene that a type never expresses stays exactly 0");
  optional_choice(
      app, "--prototype-scale", s.prototype_scale, cpnn::prototype_scale_words,
      "scale on which prototypes enter [default: log for soft labels with pearson at patch level, else counts]");
  choice(app, "--prototype-mode", s.prototype_mode, cpnn::prototype_mode_words, "whether prototypes are trained on");
  choice(app, "--prototype-regulariser", s.prototype_regulariser, cpnn::prototype_regulariser_words,
         "holds trained prototypes to the fitted ones");
  choice(app, "--composition-regulariser", s.composition_regulariser, cpnn::composition_regulariser_words,
         "holds compositions to the manifest's");
  choice(app, "--composition-level", s.composition_level, cpnn::composition_level_words,
         "patch level: compare compositions per patch or their section mean");
  choice(app, "--projector", s.projector, cpnn::projector_words, "network from features to cell types");
  app.add_option("--hidden", s.hidden, "widths of the hidden layers [default: 256,128; slide level 1024,512]")
      ->delimiter(',')
      ->check(width)
      ->type_name("N,N,...");
  optional_number(app, "--head-gain", s.head_gain,
                  "factor on the start of the last layer; small starts near equal types [default: 0.3; slide level 1]")
      ->check(positive);
  optional_choice(app, "--correction", s.correction, on_off,
                  "modality correction per gene [default: on with nb, else off]");
  optional_choice(app, "--observation", s.observation, cpnn::observation_words,
                  "loss on expression [default: pearson; slide level nb]");
  optional_number(app, "--regulariser-weight", s.regulariser_weight,
                  "weight of both regularisers [default: 1; slide level 1000]")
      ->check(not_negative);
  app.add_option("--composition-scale", s.composition_scale, "further weight of the composition regulariser")
      ->capture_default_str()
      ->check(not_negative);
  app.add_option("--eps", s.eps, "added in the logarithms of the likelihood")
      ->capture_default_str()
      ->check(not_negative);

  optional_number(app, "--epochs", s.epochs, "at most so many epochs [default: 400; slide level 1000]")
      ->check(not_negative);
  optional_number(app, "--batch", s.batch, "sections or slides per step [default: 1; slide level 8]")->check(some);
  optional_number(app, "--patience", s.patience,
                  "epochs without better validation before stopping, 0 never [default: 50; slide level 30]")
      ->check(not_negative);
  choice(app, "--optimiser", s.optimiser, cpnn::optimiser_words, "optimiser");
  optional_number(app, "--learning-rate", s.learning_rate, "learning rate [default: 0.003; slide level 0.001]")
      ->check(positive);
  app.add_option("--weight-decay", s.weight_decay, "weight decay")->capture_default_str()->check(not_negative);
  optional_number(app, "--clip-norm", s.clip_norm, "gradient norm clip, 0 none [default: 5; slide level 0.5]")
      ->check(not_negative);
  optional_number(app, "--feature-noise", s.feature_noise,
                  "deviation of the noise added to standardised features in training [default: 1; slide level 0]")
      ->check(not_negative);
  choice(app, "--schedule", s.schedule, cpnn::schedule_words, "learning rate over epochs");
  app.add_option("--schedule-period", s.schedule_period, "epochs between two steps")
      ->capture_default_str()
      ->check(some);
  app.add_option("--schedule-factor", s.schedule_factor, "factor of a step")->capture_default_str()->check(positive);
  app.add_option("--warmup", s.warmup, "epochs of linear warm-up")->capture_default_str()->check(not_negative);
  app.add_option("--folds", s.folds, "folds of the training samples that take turns in validating")
      ->capture_default_str()
      ->check(some);
  app.add_option("--members", s.members, "models per fold, averaged")->capture_default_str()->check(some);
  app.add_option("--seed", s.seed, "seed of everything random")->capture_default_str();
  list("--compat", s.compat,
       "behaviour of the released code: mask-as-one, cut-to-4096, unseeded-split, last-weights, "
       "softmax-normalisation, probabilities-as-logits")
      ->check(CLI::IsMember(cpnn::compat_words));

  common::add_report_options(app, s.choices);

  app.add_option("--threads", s.threads, "threads, 0 all; results do not depend on it")->capture_default_str()
      ->check(thread_count);
  choice(app, "--gemm", s.gemm, cpnn::gemm_words, "library of matrix products");
  choice(app, "--math", s.math, cpnn::math_words, "precision of matrix products");
  app.add_option("--checkpoint-every", s.checkpoint_every, "epochs between two checkpoints, 0 none")
      ->capture_default_str()
      ->check(not_negative);
  app.add_flag("--resume", s.resume, "continue the run in --out");
  app.add_flag("--quiet", s.quiet, "say nothing but errors");
  app.add_option("--out", s.out, "folder of the results, made if missing")->required()->type_name("DIR");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Predicts gene expression from histology through cell-type prototypes (CPNN)."};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("cpnn ") + eosin::version);
  Settings settings;
  auto* run = app.add_subcommand("run", "train on samples, predict others, judge against controls, write a report");
  add_run_options(*run, settings);

  cpnn::PredictSettings predict_settings;
  int threads = 0;
  cpnn::Gemm gemm = cpnn::Gemm::automatic;
  auto* predict = app.add_subcommand("predict", "apply a trained model to samples of a manifest");
  predict->add_option("--model", predict_settings.model, "folder model/ of a run")->required()->type_name("DIR");
  predict->add_option("--samples", predict_settings.samples, "manifest")->required()->type_name("FILE");
  predict->add_option("--test", predict_settings.test, "samples to predict; counts are judged where there are some")
      ->required()
      ->delimiter(',')
      ->type_name("A,B,...");
  predict->add_option("--threads", threads, "threads, 0 all")->capture_default_str()->check(thread_count);
  choice(*predict, "--gemm", gemm, cpnn::gemm_words, "library of matrix products");
  predict->add_flag("--quiet", predict_settings.quiet, "say nothing but errors");
  predict->add_option("--out", predict_settings.out, "folder of the results, made if missing")
      ->required()
      ->type_name("DIR");

  try {
    app.parse(argc, argv);
    if (run->parsed()) {
      if (settings.samples.empty() == !settings.simulate)
        throw CLI::ValidationError("run", "give either --samples or --simulate");
      if (!settings.simulate && (settings.train.empty() || settings.test.empty()))
        throw CLI::ValidationError("run", "--samples needs --train and --test");
      if (settings.simulate && settings.train.empty() + settings.test.empty() == 1)
        throw CLI::ValidationError("run", "--simulate takes --train and --test together, or neither");
      if (settings.simulate && settings.train.empty() && !settings.validate.empty())
        throw CLI::ValidationError("run", "--validate needs --train and --test");
    }
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  }

  try {
    const common::Interrupt interrupt;
    const auto backend = common::make_gemm(run->parsed() ? settings.gemm : gemm);
    if (run->parsed()) {
      eosin::CpuContext context({.threads = settings.threads, .math_mode = settings.math, .gemm = backend.get()});
      cpnn::run(context, settings, command_of(argc, argv), common::products_of(context));
    } else {
      cpnn::predict({.threads = threads, .gemm = backend.get()}, predict_settings, command_of(argc, argv));
    }
  } catch (const std::bad_alloc&) {
    std::fputs("cpnn: there is not enough memory\n", stderr);
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cpnn: %s\n", error.what());
    return 1;
  }
  return 0;
}
