#pragma once

// Batches of patches for an image network, made on a thread of their own while the network works on earlier ones.
//
//   PatchLoader loader(patches, options);
//   loader.start(epoch, batches);                        // row numbers of the patches of every batch
//   while (const PatchBatch* batch = loader.next()) train(batch->rows, batch->pixels);
//
// A batch is a function of the seed, the epoch and its rows alone: the same whatever the depth of the queue and the
// number of threads. `depth` batches of memory are used over and over. An error while a batch is made is thrown by the
// next() that would have returned it.

#include <eosin/vision/augmentation.hpp>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace eosin::vision {

/// Where a patch comes from. The image is not owned.
struct PatchSource {
  const Image* image = nullptr;
  Point centre{};
  /// Pixels of the image along the edge.
  double window = 224;
};

struct PatchLoaderOptions {
  /// Pixels along the edge of what the network gets; windows of another size are resampled by averaging.
  Index size = 224;
  PixelNormalisation normalisation = PixelNormalisation::imagenet;
  /// None: patches as they are, for validation and prediction.
  std::optional<AugmentationOptions> augmentation{};
  std::uint64_t seed = 1;
  /// Batches that may lie ready.
  Index depth = 2;
  /// Threads that make a batch.
  int threads = 1;
};

struct PatchBatch {
  std::vector<Index> rows;
  Matrix<float> pixels;  ///< [rows x (size * size * 3)], NHWC
};

/// Makes row `row` of `out` for one patch: cut or resampled, changed as drawn, normalised.
inline void load_patch(const PatchSource& source, std::uint64_t spot, std::uint64_t epoch,
                       const PatchLoaderOptions& options, std::span<float> out) {
  require_value(source.image != nullptr, "load_patch", "the source has no image");
  // Whole windows of the wanted size are cut, not averaged: then pixels are those of the image.
  const bool whole = source.window == static_cast<double>(options.size);
  const Image patch = whole ? extract_patch(*source.image, source.centre, options.size)
                            : resample_window(*source.image, source.centre, source.window, options.size);
  const Augmentation draw =
      options.augmentation ? draw_augmentation(*options.augmentation, options.seed, epoch, spot) : Augmentation{};
  render_patch(patch, draw, options.normalisation, out);
}

class PatchLoader {
 public:
  /// Row i of a batch's `rows` names sources[i]; its random numbers are those of spot i. Throws ValueError for options
  /// out of range.
  explicit PatchLoader(std::vector<PatchSource> sources, PatchLoaderOptions options = {})
      : sources_(std::move(sources)), options_(std::move(options)), context_({.threads = options_.threads}) {
    require_value(options_.size >= 1 && options_.size <= 16384, "PatchLoader", "size is outside [1, 16384]");
    require_value(options_.depth >= 1, "PatchLoader", "depth is below 1");
    require_value(options_.threads >= 1, "PatchLoader", "threads is below 1");
    if (options_.augmentation) require_augmentation(*options_.augmentation);
    slots_.resize(static_cast<std::size_t>(options_.depth) + 1);
    worker_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  PatchLoader(const PatchLoader&) = delete;
  PatchLoader& operator=(const PatchLoader&) = delete;
  ~PatchLoader() {
    worker_.request_stop();
    const std::scoped_lock lock(mutex_);
    changed_.notify_all();
  }

  const PatchLoaderOptions& options() const { return options_; }
  Index patches() const { return static_cast<Index>(sources_.size()); }

  /// Begins an epoch; what is left of an earlier one is dropped. Throws ValueError for a row that does not exist.
  void start(std::uint64_t epoch, std::vector<std::vector<Index>> batches) {
    for (const auto& batch : batches)
      for (const Index row : batch)
        require_value(row >= 0 && row < patches(), "PatchLoader",
                      "row " + std::to_string(row) + " lies outside " + std::to_string(patches()) + " patches");
    const std::scoped_lock lock(mutex_);
    // A batch that is being made belongs to an older generation and will not be counted.
    ++generation_;
    epoch_ = epoch;
    batches_ = std::move(batches);
    made_ = taken_ = 0;
    error_ = nullptr;
    changed_.notify_all();
  }

  /// The next batch in the order given, or null after the last one. Valid until the following call of next() or
  /// start().
  const PatchBatch* next() {
    std::unique_lock lock(mutex_);
    if (taken_ == batches_.size()) return nullptr;
    ++taken_;  // which frees the batch handed out last
    changed_.notify_all();
    changed_.wait(lock, [this] { return made_ >= taken_ || error_ != nullptr; });
    if (made_ >= taken_) return &slots_[(taken_ - 1) % slots_.size()];
    taken_ = batches_.size();
    std::rethrow_exception(error_);
  }

 private:
  void serve(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    for (;;) {
      // One slot is with the consumer, the others may be filled.
      changed_.wait(lock, [&] {
        return stop.stop_requested() ||
               (error_ == nullptr && made_ < batches_.size() && made_ + 1 < taken_ + slots_.size());
      });
      if (stop.stop_requested()) return;
      const std::uint64_t generation = generation_, epoch = epoch_;
      PatchBatch& slot = slots_[made_ % slots_.size()];
      slot.rows = batches_[made_];
      lock.unlock();
      std::exception_ptr error;
      try {
        fill(slot, epoch);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (generation == generation_) {
        if (error)
          error_ = error;
        else
          ++made_;
      }
      changed_.notify_all();
    }
  }

  void fill(PatchBatch& batch, std::uint64_t epoch) {
    const Index values = options_.size * options_.size * 3;
    batch.pixels.resize(static_cast<Index>(batch.rows.size()), values);
    context_.parallel_for(batch.pixels.rows(), 1, [&](Index i, Index) {
      const Index row = batch.rows[static_cast<std::size_t>(i)];
      load_patch(sources_[static_cast<std::size_t>(row)], static_cast<std::uint64_t>(row), epoch, options_,
                 {batch.pixels.row(i).data(), static_cast<std::size_t>(values)});
    });
  }

  std::vector<PatchSource> sources_;
  PatchLoaderOptions options_;
  CpuContext context_;
  std::vector<PatchBatch> slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by the mutex, as are the slots but for the one that is being filled.
  std::vector<std::vector<Index>> batches_;
  std::uint64_t epoch_ = 0;
  std::uint64_t generation_ = 0;
  std::size_t made_ = 0;   // batches that were made
  std::size_t taken_ = 0;  // batches that were asked for
  std::exception_ptr error_;
  std::jthread worker_;  // last member: it ends before what it uses
};

}  // namespace eosin::vision
