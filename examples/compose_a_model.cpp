// A model put together from components and trained on a few simulated slides: patches of a slide -> composition over
// cell types -> expression through cell-type prototypes -> counts of the slide. This is CPNN at slide level without its
// regularisers. README.md quotes train() and what it needs.

#include <eosin/eosin.hpp>  // Eigen is all it needs

#include <cmath>
#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

using namespace eosin;

struct Slide {
  Matrix<float> patches;  // [patches x features]
  Matrix<float> counts;   // [1 x genes]
  float library;          // their sum
};

/// Mean loss of a slide per epoch. `log_prototypes` [types x genes].
std::vector<double> train(CpuContext& context, const std::vector<Slide>& slides, const Matrix<double>& log_prototypes) {
  const Index types = log_prototypes.rows(), genes = log_prototypes.cols();
  Parameters<float> parameters;  // one flat buffer, named segments
  layers::Mlp<float> encoder(parameters, "prj", {slides[0].patches.cols(), 32, types});
  layers::PrototypeHead<float> head(parameters, log_prototypes, {}, {}, {});  // exp_template, alpha_g, beta_g
  losses::NegativeBinomial<float> loss(parameters, genes);                    // px_theta
  parameters.allocate(context, /*seed=*/1);
  optim::Adam<float> optimiser(parameters, {.weight_decay = 0.01});  // decoupled decay: AdamW
  layers::Mlp<float>::Cache encoder_cache;
  layers::PrototypeHead<float>::Cache head_cache;

  std::vector<double> losses_of_epochs(60);
  for (double& epoch_loss : losses_of_epochs)
    for (const Slide& slide : slides) {
      Workspace& scratch = context.workspace();
      const auto step = scratch.mark();  // what is taken from here on is given back at the end of the step
      const auto composition = scratch.take<float>(slide.patches.rows(), types);
      const auto d_logits = scratch.take<float>(slide.patches.rows(), types);
      const auto pooled = scratch.take<float>(1, types), d_pooled = scratch.take<float>(1, types);
      const auto share = scratch.take<float>(1, genes), mean = scratch.take<float>(1, genes);
      const auto d_mean = scratch.take<float>(1, genes);
      const auto total = scratch.take<float>(1);

      parameters.zero_gradients();
      head.begin(context, head_cache);
      encoder.forward(context, slide.patches, composition, encoder_cache);
      ops::softmax_rows(context, composition, composition);
      ops::column_means(context, composition, pooled.row(0));  // pool first: never patches x genes
      head.forward(context, pooled, share, head_cache);
      ops::normalise_rows(context, share, share, total);
      as_eigen(mean) = slide.library * as_eigen(share);
      epoch_loss += loss(context, mean, slide.counts, d_mean);  // value and gradient in one pass

      as_eigen(d_mean) *= slide.library;
      ops::normalise_rows_backward(context, share, total, d_mean, d_mean);
      head.backward(context, pooled, d_mean, d_pooled, head_cache, layers::GradientMode::accumulate);
      head.end(context, head_cache);
      ops::softmax_mean_backward(context, composition, d_pooled.row(0), d_logits);
      encoder.backward(context, slide.patches, d_logits, {}, encoder_cache, layers::GradientMode::accumulate);
      optimiser.step(context, parameters, /*learning_rate=*/3e-3);
    }
  for (double& value : losses_of_epochs) value /= static_cast<double>(slides.size());
  return losses_of_epochs;
}

namespace {

constexpr Index slide_count = 24, patches = 100, features = 16, types = 4, genes = 60;
constexpr double library = 20000, dispersion = 0.1;

struct Simulation {
  std::vector<Slide> slides;
  Matrix<double> log_prototypes{types, genes};
  Matrix<float> mean{slide_count, genes};  // expected counts
};

/// Every patch is of one type, which its features show with noise; a slide's counts are negative binomial around its
/// mixture of prototypes.
Simulation simulate() {
  RandomStream random(/*seed=*/7);
  Simulation data;
  Matrix<double> prototypes(types, genes), appearance(types, features);
  for (Index t = 0; t < types; ++t) {
    double sum = 0;
    for (Index g = 0; g < genes; ++g) {
      prototypes(t, g) = random.gamma(0.5);
      sum += prototypes(t, g);
    }
    for (Index g = 0; g < genes; ++g) {
      prototypes(t, g) /= sum;
      data.log_prototypes(t, g) = std::log(prototypes(t, g));
    }
    for (Index d = 0; d < features; ++d) appearance(t, d) = random.normal();
  }
  for (Index s = 0; s < slide_count; ++s) {
    std::vector<double> abundance;
    double sum = 0;
    for (Index t = 0; t < types; ++t) {
      abundance.push_back(random.gamma(1.0));
      sum += abundance.back();
    }
    Slide slide{Matrix<float>(patches, features), Matrix<float>(1, genes), 0};
    for (Index n = 0; n < patches; ++n) {
      Index type = 0;
      for (double left = sum * random.uniform(); type + 1 < types; ++type)
        if ((left -= abundance[static_cast<std::size_t>(type)]) < 0) break;
      for (Index d = 0; d < features; ++d)
        slide.patches(n, d) = static_cast<float>(appearance(type, d) + 0.5 * random.normal());
      for (Index g = 0; g < genes; ++g)
        data.mean(s, g) += static_cast<float>(library / static_cast<double>(patches) * prototypes(type, g));
    }
    for (Index g = 0; g < genes; ++g) {
      slide.counts(0, g) =
          static_cast<float>(random.negative_binomial(static_cast<double>(data.mean(s, g)), dispersion));
      slide.library += slide.counts(0, g);
    }
    data.slides.push_back(std::move(slide));
  }
  return data;
}

}  // namespace

int main() try {
  const Simulation data = simulate();
  CpuContext context({.threads = 2});
  const auto epochs = train(context, data.slides, data.log_prototypes);

  Vector<float> theta(genes);
  theta.fill(static_cast<float>(1 / dispersion));
  double truth = 0;
  for (Index s = 0; s < slide_count; ++s)
    truth += losses::negative_binomial(context, data.mean.view().middle_rows(s, 1), theta.view(),
                                       data.slides[static_cast<std::size_t>(s)].counts.view());
  std::printf("negative log-likelihood of a slide: %.1f in the first epoch, %.1f in the last, %.1f under the truth\n",
              epochs.front(), epochs.back(), truth / static_cast<double>(slide_count));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "compose_a_model: %s\n", error.what());
  return 1;
}
