// mclstexp run|predict: contrastive learning of spots and patches, prediction of expression by retrieval.
// `mclstexp run --help` and `mclstexp predict --help` list every option.

#include "run.hpp"

#include "common/command_line.hpp"
#include "common/interrupt.hpp"

#include <eosin/core/version.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
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
using mclstexp::Settings;

const common::Words<bool> on_off{{"on", true}, {"off", false}};

void add_data_options(CLI::App& app, Settings& s) {
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
  list("--train", s.train, "training samples, whose spots are searched for neighbours");
  list("--validate", s.validate, "validation samples (none: training samples take turns)");
  list("--test", s.test, "test samples, never used in training");
  app.add_option("--genes", s.genes, "gene list, one per line (none: highly variable genes)")->type_name("FILE");
  app.add_option("--hvg", s.highly_variable, "number of highly variable genes of the training samples")
      ->capture_default_str()
      ->check(some);
  app.add_option("--patch-size", s.patch_size, "edge of a patch in pixels (0: the measured spot pitch)")
      ->capture_default_str()
      ->check(not_negative);
  choice(app, "--standardise", s.standardisation, mclstexp::standardisation_words,
         "given features to mean 0, deviation 1 by each section or by the training sections");
}

void add_model_options(CLI::App& app, Settings& s) {
  optional_choice(app, "--encoder", s.encoder, mclstexp::encoder_words,
                  "image features: those of the manifest or of the built-in patch encoder, or a network [default: "
                  "densenet121 where --weights are given, else features]");
  app.add_option("--weights", s.weights, "safetensors file with the network's weights in torchvision's or timm's names")
      ->type_name("FILE");
  app.add_flag("--freeze-encoder", s.freeze_encoder, "the network is not trained; its features are computed once");
  app.add_option("--feature-cache", s.feature_cache, "folder that keeps the features of a frozen network between runs")
      ->type_name("DIR");
  app.add_option("--image-size", s.image_size, "edge in pixels to which patches are brought for a network")
      ->capture_default_str()
      ->check(common::in_range(32, 4096, "PIXELS"));
  choice(app, "--image-normalisation", s.image_normalisation, mclstexp::image_normalisation_words,
         "colours of a patch for a network; compat is BGR 0 to 255");
  app.add_option("--jitter", s.jitter, "colour jitter in training of a network: brightness, contrast, saturation")
      ->capture_default_str()
      ->check(common::in_range(0, 1, "SHARE"));
  choice(app, "--flip", s.flip, on_off, "horizontal flips in training of a network");
  app.add_option("--rotation", s.rotation, "largest rotation in training of a network, degrees")
      ->capture_default_str()
      ->check(common::in_range(0, 180, "DEGREES"));
  app.add_option("--feature-noise", s.feature_noise,
                 "deviation of the noise added to standardised given features in training")
      ->capture_default_str()
      ->check(not_negative);
  choice(app, "--spot-encoder", s.spot_encoder, mclstexp::spot_encoder_words,
         "Transformer over the spots of a section, or the projection head alone");
  app.add_option("--depth", s.depth, "Transformer blocks")->capture_default_str()->check(not_negative);
  app.add_option("--heads", s.heads, "attention heads")->capture_default_str()->check(some);
  app.add_option("--head-width", s.head_width, "channels of a head")->capture_default_str()->check(some);
  choice(app, "--position", s.position, mclstexp::position_words, "code of a spot's place on the array");
  app.add_option("--projection", s.projection, "width of the common space")->capture_default_str()->check(some);
  choice(app, "--standardise-expression", s.standardise_expression, on_off,
         "genes to mean 0, deviation 1 over the training spots before the spot encoder");
  choice(app, "--normalize", s.normalize, on_off, "embeddings to length 1 before they are compared");
  app.add_option("--temperature", s.temperature, "similarities are divided by it")
      ->capture_default_str()
      ->check(positive);
  choice(app, "--learned-temperature", s.learned_temperature, on_off, "the temperature is trained, from --temperature");
  app.add_option("--image-weight", s.image_weight, "weight of image to spot in the loss; spot to image has the rest")
      ->capture_default_str()
      ->check(common::in_range(0, 1, "SHARE"));
  app.add_option("--positive-radius", s.positive_radius,
                 "spots within so many spot pitches count as right for each other, 0 none")
      ->capture_default_str()
      ->check(not_negative);
}

void add_training_options(CLI::App& app, Settings& s) {
  optional_number(app, "--epochs", s.epochs, "at most so many epochs [default: 90; 10 where a network is trained]")
      ->check(not_negative);
  optional_number(app, "--batch", s.batch,
                  "spots per step, 0 a whole section [default: 128; 32 where a network is trained]")
      ->check(not_negative);
  choice(app, "--sentences", s.sentences, mclstexp::sentence_words,
         "which spots of a mini-batch attend to each other in training");
  app.add_option("--patience", s.patience, "epochs without better validation before stopping, 0 never")
      ->capture_default_str()
      ->check(not_negative);
  choice(app, "--optimiser", s.optimiser, mclstexp::optimiser_words, "optimiser; adam has coupled weight decay");
  app.add_option("--learning-rate", s.learning_rate, "learning rate")->capture_default_str()->check(positive);
  app.add_option("--weight-decay", s.weight_decay, "weight decay")->capture_default_str()->check(not_negative);
  app.add_option("--clip-norm", s.clip_norm, "gradient norm clip, 0 none")->capture_default_str()->check(not_negative);
  app.add_option("--dropout", s.dropout, "share of activations dropped in training")
      ->capture_default_str()
      ->check(common::in_range(0, 0.99, "SHARE"));
  optional_number(app, "--folds", s.folds,
                  "folds of the training samples that take turns in validating, 1: none does [default: 4; 1 where a "
                  "network is trained]")
      ->check(some);
  app.add_option("--members", s.members, "models per fold, averaged")->capture_default_str()->check(some);
  app.add_option("--seed", s.seed, "seed of everything random")->capture_default_str();
}

void add_prediction_options(CLI::App& app, Settings& s) {
  choice(app, "--predict", s.predictor, mclstexp::predictor_words,
         "whose predictions are written and drawn; both are judged; auto: the better one on validation samples");
  app.add_option("--neighbours", s.neighbours, "training spots that a prediction averages")
      ->capture_default_str()
      ->check(some);
  choice(app, "--distance", s.distance, mclstexp::distance_words, "distance behind the weights of neighbours");
  choice(app, "--weighting", s.weighting, mclstexp::weighting_words, "weights of neighbours");
  choice(app, "--calibrate", s.calibrate, on_off,
         "slope per gene from validation samples on what is predicted (off: as retrieved)");
  common::add_report_options(app, s.report);
  app.add_option("--compat", s.compat,
                 "behaviour of the released code: gene-axis, sentences-of-32, no-final-relu, augmented-test, "
                 "hvg-with-test")
      ->delimiter(',')
      ->type_name("A,B,...")
      ->check(CLI::IsMember(mclstexp::compat_words));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Predicts gene expression from histology by contrastive learning and retrieval (mclSTExp)."};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("mclstexp ") + eosin::version);
  Settings settings;
  auto* run = app.add_subcommand("run", "train on samples, predict others, judge against controls, write a report");
  add_data_options(*run, settings);
  add_model_options(*run, settings);
  add_training_options(*run, settings);
  add_prediction_options(*run, settings);
  run->add_option("--threads", settings.threads, "threads, 0 all")->capture_default_str()->check(thread_count);
  choice(*run, "--gemm", settings.gemm, common::gemm_words, "library of matrix products");
  choice(*run, "--math", settings.math, common::math_words, "precision of matrix products");
  optional_number(*run, "--checkpoint-every", settings.checkpoint_every,
                  "epochs between two checkpoints, 0 none [default: 10; 1 where a network is trained]")
      ->check(not_negative);
  run->add_flag("--resume", settings.resume, "continue the run in --out");
  run->add_flag("--quiet", settings.quiet, "say nothing but errors");
  run->add_option("--out", settings.out, "folder of the results, made if missing")->required()->type_name("DIR");

  mclstexp::PredictSettings predict_settings;
  int threads = 0;
  common::Gemm gemm = common::Gemm::automatic;
  auto* predict = app.add_subcommand("predict", "apply a trained model to samples of a manifest");
  predict->add_option("--model", predict_settings.model, "folder model/ of a run")->required()->type_name("DIR");
  predict->add_option("--samples", predict_settings.samples, "manifest")->required()->type_name("FILE");
  predict->add_option("--test", predict_settings.test, "samples to predict; counts are judged where there are some")
      ->required()
      ->delimiter(',')
      ->type_name("A,B,...");
  predict->add_option("--threads", threads, "threads, 0 all")->capture_default_str()->check(thread_count);
  choice(*predict, "--gemm", gemm, common::gemm_words, "library of matrix products");
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
      if (settings.batch == eosin::Index{1})
        throw CLI::ValidationError("run", "--batch: a batch needs at least 2 spots");
    }
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  }

  try {
    const common::Interrupt interrupt;
    const auto products = run->parsed() ? settings.gemm : gemm;
    const auto backend = common::make_gemm(products);
    const auto convolution = common::make_convolution(products);
    if (run->parsed()) {
      eosin::CpuContext context({.threads = settings.threads,
                                 .math_mode = settings.math,
                                 .gemm = backend.get(),
                                 .convolution = convolution.get()});
      mclstexp::run(context, settings, command_of(argc, argv));
    } else {
      mclstexp::predict({.threads = threads, .gemm = backend.get(), .convolution = convolution.get()},
                        predict_settings, command_of(argc, argv));
    }
  } catch (const std::bad_alloc&) {
    std::fputs("mclstexp: there is not enough memory\n", stderr);
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mclstexp: %s\n", error.what());
    return 1;
  }
  return 0;
}
