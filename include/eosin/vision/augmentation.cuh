#pragma once

// Patches for an image network on the device: colour, flips, rotation and normalisation in one pass; what happens to a
// pixel is in augmentation.hpp. Draws are made on the processor, eleven numbers per patch, so that they are the same.
//
//   mean_grey       a block of 256 threads per patch: the mean grey before the change of contrast, in double, each
//                   thread a fixed share of the pixels. Only patches whose contrast changes. Bytes: the patch once
//   render_patches  a thread per pixel of the result: finds where the pixel comes from, changes its colour, normalises
//                   it. Nothing in between is written. Bytes: 3 read per pixel, from the cache where a rotation
//                   scatters them, and 3 floats written. About 40 operations per pixel, 10 more in double where it is
//                   turned

#include <eosin/core/cuda_context.cuh>

namespace eosin::vision {

namespace kernels {

/// What is done to one patch.
struct PatchChange {
  Augmentation draw;
  detail::Orientation orientation;
};

/// Changes the colour of a pixel as far as `draw` orders, up to the change of contrast where `mean_grey` is null.
__device__ __forceinline__ void change_colours(const Augmentation& draw, const float* mean_grey, float* pixel) {
  for (std::size_t i = 0; i < 4; ++i) {
    const auto colour = draw.order[i];
    if (!detail::changes(draw, colour)) continue;
    if (mean_grey == nullptr && colour == Augmentation::Colour::contrast) return;
    detail::change_colour(draw, colour, mean_grey == nullptr ? 0.0f : *mean_grey, pixel);
  }
}

/// A patch per block. A template like every kernel; T is the type of the pixels.
template <class T>
__global__ void __launch_bounds__(256)
    mean_grey(MatrixView<const T, Device> patches, const PatchChange* changes, float* means) {
  EOSIN_SHARED(double, scratch, [8]);
  const Index patch = static_cast<Index>(blockIdx.x), pixels = patches.cols() / 3;
  const Augmentation& draw = changes[patch].draw;
  const bool wanted = detail::changes(draw, Augmentation::Colour::contrast);
  double sum = 0;
  for (Index i = threadIdx.x; wanted && i < pixels; i += 256) {
    float pixel[3];
    for (int c = 0; c < 3; ++c) pixel[c] = detail::unit_of_byte(patches(patch, 3 * i + c));
    change_colours(draw, nullptr, pixel);
    sum += static_cast<double>(detail::grey(pixel));
  }
  sum = cuda::block_sum<256>(sum, scratch);
  if (threadIdx.x == 0) means[patch] = static_cast<float>(sum / static_cast<double>(pixels));
}

template <class T>
struct RenderPatches {
  MatrixView<const std::uint8_t, Device> patches;
  int width;
  const PatchChange* changes;
  const float* means;
  PixelNormalisation normalisation;
  MatrixView<T, Device> out;
  __device__ void operator()(Index patch, Index at) const {
    const PatchChange& change = changes[patch];
    const int y = static_cast<int>(at) / width, x = static_cast<int>(at) - y * width;
    const Index from = change.orientation.source(x, y);
    float pixel[3] = {0, 0, 0};
    if (from >= 0) {
      for (int c = 0; c < 3; ++c) pixel[c] = detail::unit_of_byte(patches(patch, 3 * from + c));
      change_colours(change.draw, means + patch, pixel);
    }
    detail::normalise_pixel(normalisation, pixel);
    for (int c = 0; c < 3; ++c) out(patch * (patches.cols() / 3) + at, c) = static_cast<T>(pixel[c]);
  }
};

}  // namespace kernels

/// What render_patch makes of each patch and its draw, as a batch of images: patches [n x height * width * 3], bytes
/// R, G, B in reading order, out [n * height * width x 3]. Throws ShapeError.
template <class T>
void render_patches(CudaContext& context, MatrixView<const std::uint8_t, Device> patches, Index width, Index height,
                    std::span<const Augmentation> draws, PixelNormalisation normalisation, MatrixView<T, Device> out) {
  require_size("render_patches", "patches", "columns", patches.cols(), 3 * width * height, "width * height * 3");
  require_size("render_patches", "draws", "elements", static_cast<Index>(draws.size()), patches.rows(), "patches");
  require_shape("render_patches", "out", out, patches.rows() * width * height, 3);
  if (out.empty()) return;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  std::vector<kernels::PatchChange> changes;
  changes.reserve(draws.size());
  for (const Augmentation& draw : draws) changes.push_back({draw, detail::Orientation(draw, width, height)});
  const auto changes_there = workspace.template take<kernels::PatchChange>(patches.rows());
  upload<kernels::PatchChange>(context, VectorView<const kernels::PatchChange>(changes.data(), patches.rows()),
                               changes_there);
  const auto means = workspace.template take<float>(patches.rows());
  context.launch("mean_grey", kernels::mean_grey<std::uint8_t>, static_cast<unsigned>(patches.rows()), 256, patches,
                 changes_there.data(), means.data());
  for_each_cell(context, "render_patches", patches.rows(), width * height,
                kernels::RenderPatches<T>{patches, static_cast<int>(width), changes_there.data(), means.data(),
                                          normalisation, out});
}

}  // namespace eosin::vision
