// eosin_cuda_bench [--predict] [FILTER]
//
// Times the kernels and the training steps on the CUDA device beside what the device reaches in the same run. With
// --predict it needs no device: bytes, operations and the least time they take on an H200. bench/cuda/run.sh builds it,
// runs it and PyTorch on the same work.

#include "harness.hpp"

#include <cpnn/model.hpp>
#include <eosin/losses/info_nce.hpp>
#include <eosin/ops/attention.hpp>
#include <eosin/ops/layer_norm.hpp>
#include <eosin/ops/linear_gelu.hpp>
#include <eosin/ops/prototypes.hpp>
#include <eosin/optim/captured_step.cuh>
#include <eosin/retrieval/neighbours.hpp>
#include <eosin/vision/densenet.hpp>
#include <mclstexp/model.hpp>

#include <cmath>
#include <cstring>
#include <memory>
#include <span>

namespace {

using namespace bench;
using eosin::Matrix;
using eosin::MatrixView;
using eosin::Vector;
using eosin::layers::GradientMode;

// The sizes of the slide level (docs/results.md).
constexpr Index patches = 4096, genes = 14052, types = 29, slides = 8, inputs = 512;

double size(Index rows, Index cols = 1) {
  return static_cast<double>(rows) * static_cast<double>(cols);
}

/// Numbers in [low, high) in a pattern without a period that matters: kernels take the same time as for random ones.
Matrix<float, Device> numbers(CudaContext& context, Index rows, Index cols, double low, double high) {
  Matrix<float> host(rows, cols);
  std::uint64_t state = 1;
  for (Index i = 0; i < host.size(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    host.data()[i] = static_cast<float>(low + (high - low) * static_cast<double>(state >> 40) / 16777216.0);
  }
  return on_device(context, host.view());
}
/// Counts: whole numbers from 0 to 7, half of them 0.
Matrix<float, Device> counts(CudaContext& context, Index rows, Index cols) {
  auto host = on_host(context, numbers(context, rows, cols, -7, 8).view());
  for (Index i = 0; i < host.size(); ++i) host.data()[i] = std::max(0.0f, std::floor(host.data()[i]));
  return on_device(context, host.view());
}

// Each maker shares ownership of its memory with the work it returns.

Case negative_binomial() {
  // Counted in math/negative_binomial.hpp: two logarithms, a reciprocal, differences of lgamma and digamma, some ninety
  // operations in all.
  return {
      "NB loss, value and gradient, 4,096 x 14,052", 12 * size(patches, genes), 90 * size(patches, genes), false,
      [](CudaContext& context) {
        struct Memory {
          Matrix<float, Device> mu, y, gradient;
          Vector<float, Device> theta, d_theta;
          Vector<double, Device> sum;
        };
        auto m = std::make_shared<Memory>(Memory{
            numbers(context, patches, genes, 0.01, 5), counts(context, patches, genes), {patches, genes}, {}, {}, {}});
        m->theta = Vector<float, Device>(genes);
        m->d_theta = Vector<float, Device>(genes);
        m->sum = Vector<double, Device>(1);
        eosin::ops::exponentials<float>(context, m->d_theta.view(), m->theta.view());  // 1
        return [&context, m] {
          eosin::ops::NegativeBinomialOptions<float, Device> options{.eps = 1e-8f, .gradient_scale = 1.0f};
          options.gradient_mu = m->gradient.view();
          options.gradient_log_theta = m->d_theta.view();
          eosin::ops::negative_binomial(context, m->mu, m->theta.view(), m->y.view(), options, m->sum.view());
        };
      }};
}

Case softmax_composition() {
  const Index rows = slides * patches;
  return {"softmax composition, pooled, forward and backward, 32,768 x 29", 20 * size(rows, types),
          30 * size(rows, types), false, [rows](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> logits, composition, d_logits, pooled, d_pooled;
            };
            auto m = std::make_shared<Memory>(Memory{numbers(context, rows, types, -3, 3),
                                                     {rows, types},
                                                     {rows, types},
                                                     {1, types},
                                                     numbers(context, 1, types, -1, 1)});
            return [&context, m] {
              eosin::ops::softmax_rows<float>(context, m->logits, m->composition.view());
              eosin::ops::column_means<float>(context, m->composition, m->pooled.view().row(0));
              eosin::ops::softmax_mean_backward<float>(context, m->composition, m->d_pooled.view().row(0),
                                                       m->d_logits.view());
            };
          }};
}

Case linear_gelu() {
  const Index rows = patches, width = 1024;
  return {"linear layer with bias and GELU, 4,096 x 512 -> 1,024",
          4 * (size(rows, inputs) + size(width, inputs) + 2 * size(rows, width)), 2 * size(rows, inputs) * 1024, true,
          [rows, width](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> x, weight, derivative, hidden;
              Vector<float, Device> bias;
            };
            auto m = std::make_shared<Memory>(Memory{numbers(context, rows, inputs, -1, 1),
                                                     numbers(context, width, inputs, -0.1, 0.1),
                                                     {rows, width},
                                                     {rows, width},
                                                     {}});
            m->bias = Vector<float, Device>(width);
            return [&context, m] {
              eosin::ops::linear_gelu<float>(context, m->x, m->weight.view(), std::as_const(m->bias).view(),
                                             m->derivative.view(), m->hidden.view());
            };
          }};
}

Case modality_correction() {
  return {"modality correction, forward and backward, 4,096 x 14,052", 20 * size(patches, genes),
          6 * size(patches, genes), false, [](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> mixed, v;
              Vector<float, Device> alpha, beta, d_alpha, d_beta;
            };
            auto m = std::make_shared<Memory>(
                Memory{numbers(context, patches, genes, 0, 2), {patches, genes}, {}, {}, {}, {}});
            for (auto* vector : {&m->alpha, &m->beta, &m->d_alpha, &m->d_beta}) *vector = Vector<float, Device>(genes);
            return [&context, m] {
              const auto alpha = std::as_const(m->alpha).view(), beta = std::as_const(m->beta).view();
              eosin::ops::correct_modality<float>(context, m->mixed, alpha, beta, m->v.view());
              eosin::ops::correct_modality_backward<float>(context, m->mixed, alpha, beta, m->v.view(),
                                                           m->d_alpha.view(), m->d_beta.view());
            };
          }};
}

Case layer_norm() {
  const Index rows = 16384, width = 1024;
  return {"layer norm, forward and backward, 16,384 x 1,024", 28 * size(rows, width), 20 * size(rows, width), false,
          [rows, width](CudaContext& context) {
            struct Memory {
              std::unique_ptr<eosin::Parameters<float, Device>> parameters;
              std::unique_ptr<eosin::layers::LayerNorm<float, Device>> layer;
              eosin::layers::LayerNorm<float, Device>::Cache cache;
              Matrix<float, Device> x, y, dy, dx;
            };
            auto m = std::make_shared<Memory>();
            m->parameters = std::make_unique<eosin::Parameters<float, Device>>();
            m->layer = std::make_unique<eosin::layers::LayerNorm<float, Device>>(
                *m->parameters, "norm", width, eosin::layers::LayerNormOptions{.eps = 1e-5});
            m->parameters->allocate(context, 1);
            m->x = numbers(context, rows, width, -1, 1);
            m->dy = numbers(context, rows, width, -1, 1);
            m->y = m->dx = Matrix<float, Device>(rows, width);
            return [&context, m] {
              m->layer->forward(context, m->x.view(), m->y.view(), m->cache);
              m->layer->backward(context, m->x.view(), m->dy.view(), m->dx.view(), m->cache, GradientMode::overwrite);
            };
          }};
}

Case attention() {
  const Index n = 16384, heads = 8, width = heads * 64;
  // Products: two forward, five backward, of n x n x 64 a head.
  return {"attention, forward and backward, n = 16,384, 8 heads of 64", 4 * 12 * size(n, width),
          7 * 2 * size(n, n) * static_cast<double>(width), true, [=](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> q, k, v, out, log_sums, d_out, d_q, d_k, d_v;
              std::vector<Index> offsets;
            };
            auto m = std::make_shared<Memory>();
            for (auto* matrix : {&m->q, &m->k, &m->v, &m->d_out}) *matrix = numbers(context, n, width, -1, 1);
            for (auto* matrix : {&m->out, &m->d_q, &m->d_k, &m->d_v}) *matrix = Matrix<float, Device>(n, width);
            m->log_sums = Matrix<float, Device>(heads, n);
            m->offsets = {0, n};
            return [&context, m, heads] {
              eosin::ops::attention<float>(context, m->q, m->k, m->v, m->offsets, heads, 0.125f, m->out.view(),
                                           m->log_sums.view());
              eosin::ops::attention_backward<float>(context, m->q, m->k, m->v, m->offsets, heads, 0.125f, m->out,
                                                    m->log_sums, m->d_out, m->d_q.view(), m->d_k.view(), m->d_v.view());
            };
          }};
}

Case info_nce() {
  const Index n = 32768, width = 256;
  // The logits twice, for the sums and for the gradients, and a product for each gradient.
  return {"InfoNCE, value and gradient, 32,768 x 256", 4 * 4 * size(n, width),
          4 * 2 * size(n, n) * static_cast<double>(width), true, [=](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> spot, image, d_spot, d_image;
              Vector<double, Device> loss;
            };
            auto m = std::make_shared<Memory>(Memory{
                numbers(context, n, width, -1, 1), numbers(context, n, width, -1, 1), {n, width}, {n, width}, {}});
            m->loss = Vector<double, Device>(1);
            return [&context, m] {
              eosin::losses::info_nce<float>(context, m->spot, m->image, {.normalize = true}, m->d_spot.view(),
                                             m->d_image.view(), m->loss.view());
            };
          }};
}

Case adam() {
  const Index n = 64 << 20;
  return {"Adam, 67,108,864 parameters, with norm and clipping", 32 * size(n), 20 * size(n), false,
          [n](CudaContext& context) {
            struct Memory {
              eosin::Parameters<float, Device> parameters;
              std::unique_ptr<eosin::optim::Adam<float, Device>> optimiser;
              std::unique_ptr<eosin::optim::CapturedStep<float>> step;
            };
            auto m = std::make_shared<Memory>();
            m->parameters.add("all", {n});
            m->parameters.allocate(context, 1);
            m->optimiser =
                std::make_unique<eosin::optim::Adam<float, Device>>(m->parameters, eosin::optim::AdamOptions{});
            m->step =
                std::make_unique<eosin::optim::CapturedStep<float>>(context, m->parameters, *m->optimiser, 1.0, [] {});
            return [&context, m] { m->step->run(context, 1e-3); };
          }};
}

Case retrieval() {
  const Index keys = 1000000, queries = 10000, width = 256, k = 200;
  return {
      "retrieval, 1,000,000 keys, 10,000 queries of 256, top 200", 4 * size(keys + queries, width),
      2 * size(keys, queries) * static_cast<double>(width), true, [=](CudaContext& context) {
        struct Memory {
          Matrix<float, Device> keys, queries, similarity;
          Matrix<Index, Device> indices;
        };
        auto m = std::make_shared<Memory>(Memory{
            numbers(context, keys, width, -1, 1), numbers(context, queries, width, -1, 1), {queries, k}, {queries, k}});
        return [&context, m, k] {
          eosin::retrieval::top_k<float>(context, std::as_const(m->keys).view(), m->queries, k, m->indices.view(),
                                         m->similarity.view());
        };
      }};
}

/// A whole step of CPNN at slide level as a graph.
Case slide_step() {
  const double products = size(inputs, 1024) + size(1024, 512) + size(512, types);
  // Forward, gradient of the weights, and gradient of the inputs but for the first layer.
  const double operations = 2 * size(slides * patches) * (3 * products - size(inputs, 1024));
  return {"CPNN, step of 8 slides of 4,096 x 512", 4 * size(slides * patches) * (inputs + 3 * (1024 + 512 + types)),
          operations, true, [](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> features, expression, composition;
              std::vector<cpnn::Slide<float, Device>> slides;
              std::unique_ptr<cpnn::Model<float, Device>> model;
              std::unique_ptr<eosin::optim::Adam<float, Device>> optimiser;
              std::unique_ptr<eosin::optim::CapturedStep<float>> step;
            };
            auto m = std::make_shared<Memory>();
            m->features = numbers(context, slides * patches, inputs, -1, 1);
            m->expression = counts(context, slides, genes);
            m->composition = numbers(context, slides, types, 0.1, 1);
            for (Index s = 0; s < slides; ++s)
              m->slides.push_back(
                  {m->features.view().middle_rows(s * patches, patches), m->expression.row(s), m->composition.row(s)});
            cpnn::ModelOptions options;
            options.inputs = inputs;
            options.hidden = {1024, 512};
            options.types = types;
            options.genes = genes;
            eosin::Matrix<double> prototypes(types, genes);
            for (Index i = 0; i < prototypes.size(); ++i) prototypes.data()[i] = 0.1 + static_cast<double>(i % 97);
            m->model = std::make_unique<cpnn::Model<float, Device>>(options, prototypes.view());
            m->model->parameters().allocate(context, 1);
            m->optimiser = std::make_unique<eosin::optim::Adam<float, Device>>(
                m->model->parameters(), eosin::optim::AdamOptions{.weight_decay = 0.01});
            m->step = std::make_unique<eosin::optim::CapturedStep<float>>(
                context, m->model->parameters(), *m->optimiser, 0.5, [&context, raw = m.get()] {
                  raw->model->queue_slide_step(context, raw->slides, GradientMode::overwrite);
                });
            return [&context, m] { m->step->run(context, 1e-3); };
          }};
}

/// A whole step of the spot branch of mclSTExp as a graph.
Case spot_branch() {
  const Index n = 128, width = 785, inner = 512, projection = 256;
  const double block = size(width, 3 * inner) + size(inner, width) + 2 * size(width, width);
  const double weights = 2 * block + size(width + 1024, projection) + 2 * size(projection, projection);
  return {"mclSTExp, step of the spot branch, 128 x 785", 36 * weights, 6 * size(n) * weights, true,
          [=](CudaContext& context) {
            struct Memory {
              Matrix<float, Device> expression, features;
              Matrix<Index, Device> positions;
              std::vector<Index> offsets;
              mclstexp::Batch<float, Device> batch;
              std::unique_ptr<mclstexp::Model<float, Device>> model;
              std::unique_ptr<eosin::optim::Adam<float, Device>> optimiser;
              std::unique_ptr<eosin::optim::CapturedStep<float>> step;
            };
            auto m = std::make_shared<Memory>();
            m->expression = numbers(context, n, width, -1, 1);
            m->features = numbers(context, n, 1024, -1, 1);
            Matrix<Index> positions(n, 2);
            for (Index i = 0; i < positions.size(); ++i) positions.data()[i] = (37 * i) % 64;
            m->positions = on_device(context, positions.view());
            m->offsets = {0, n};
            m->batch = {m->expression.view(), std::as_const(m->positions).view(), m->offsets, m->features.view()};
            mclstexp::ModelOptions options;
            options.genes = width;
            options.x_rows = options.y_rows = 64;
            m->model = std::make_unique<mclstexp::Model<float, Device>>(options);
            m->model->parameters().allocate(context, 1);
            m->optimiser = std::make_unique<eosin::optim::Adam<float, Device>>(
                m->model->parameters(),
                eosin::optim::AdamOptions{.weight_decay = 1e-3, .decay = eosin::optim::WeightDecay::coupled});
            m->step = std::make_unique<eosin::optim::CapturedStep<float>>(
                context, m->model->parameters(), *m->optimiser, 0.0,
                [&context, raw = m.get()] { raw->model->queue_step(context, raw->batch, GradientMode::overwrite); });
            return [&context, m] { m->step->run(context, 1e-4); };
          }};
}

/// DenseNet-121, value and gradient in training mode, images of 224 x 224: 2.9e9 multiplications an image forward and
/// twice that backward; the weights and 17 MB of features an image are written once and read once.
Case densenet() {
  const Index images = 8, edge = 224;
  return {"DenseNet-121, forward and backward, 8 images of 224 x 224",
          3 * 32e6 + 2 * 17e6 * static_cast<double>(images), 3 * 2 * 2.9e9 * static_cast<double>(images), true,
          [=](CudaContext& context) {
            struct Memory {
              eosin::Parameters<float, Device> parameters;
              std::unique_ptr<eosin::vision::DenseNet<float, Device>> network;
              eosin::vision::DenseNet<float, Device>::Cache cache;
              Matrix<float, Device> pixels, features, upstream;
            };
            auto m = std::make_shared<Memory>();
            m->network = std::make_unique<eosin::vision::DenseNet<float, Device>>(m->parameters, "net");
            m->parameters.allocate(context, 1);
            m->network->set_mode(eosin::layers::BatchNormMode::training);
            m->pixels = numbers(context, images * edge * edge, 3, -2, 2);
            m->features = Matrix<float, Device>(images, m->network->channels());
            m->upstream = numbers(context, images, m->network->channels(), -1, 1);
            return [&context, m, images, edge] {
              m->network->forward(context, {m->pixels.view(), images, edge, edge}, m->features.view(), m->cache);
              m->network->backward(context, m->upstream, m->cache, GradientMode::overwrite);
            };
          }};
}

std::vector<Case> all_cases() {
  return {negative_binomial(), softmax_composition(), linear_gelu(), modality_correction(),
          layer_norm(),        attention(),           info_nce(),    adam(),
          retrieval(),         slide_step(),          spot_branch(), densenet()};
}

}  // namespace

int main(int argc, char** argv) {
  bool predict = false;
  std::string filter;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--predict") == 0) {
      predict = true;
    } else if (argv[i][0] == '-') {
      std::printf(
          "usage: eosin_cuda_bench [--predict] [FILTER]\n"
          "Times kernels and training steps whose names contain FILTER on the CUDA device.\n"
          "  --predict   bytes, operations and the least time on an H200; needs no device\n");
      return std::strcmp(argv[i], "--help") == 0 ? 0 : 2;
    } else {
      filter = argv[i];
    }
  }
  try {
    if (predict) {
      predict_times(all_cases(), filter);
      return 0;
    }
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      std::fprintf(stderr, "eosin_cuda_bench: no CUDA device is found (--predict needs none)\n");
      return 1;
    }
    double simple = 0;  // what operations outside of products are held against: the rate in full precision
    for (const auto mode : {eosin::MathMode::full, eosin::MathMode::tf32}) {
      CudaContext context({.math_mode = mode});
      std::printf("\nmatrix products in %s\n", mode == eosin::MathMode::full ? "float" : "TF32");
      Timer timer(context);
      Rates rates = measure(context, timer);
      if (mode == eosin::MathMode::full) simple = rates.products;
      rates.simple = simple;
      time(context, timer, rates, all_cases(), filter);
    }
    return 0;
  } catch (const eosin::Error& error) {
    std::fprintf(stderr, "eosin_cuda_bench: %s\n", error.what());
    return 1;
  }
}
