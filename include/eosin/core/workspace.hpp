#pragma once

// Scratch memory as an arena with RAII marks: what is taken after a mark is given back when the mark dies. After the
// first step everything lies in one chunk and no step allocates any more.

#include <eosin/core/buffer.hpp>

#include <algorithm>
#include <vector>

namespace eosin {

/// Arena of memory in one space. Contents are undefined when taken. For one thread at a time; tasks of a parallel
/// operation use memory that was taken before they started. What is queued on a device and uses memory that was given
/// back comes before what is queued later and takes it again, on the one stream of the context.
template <class Space>
class BasicWorkspace {
 public:
  /// Gives back on destruction what was taken since its creation.
  class Mark {
   public:
    explicit Mark(BasicWorkspace& workspace)
        : workspace_(&workspace), chunk_(workspace.chunk_), offset_(workspace.offset_) {
      ++workspace.marks_;
    }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    ~Mark() {
      workspace_->chunk_ = chunk_;
      workspace_->offset_ = offset_;
      if (--workspace_->marks_ == 0 && chunk_ == 0 && offset_ == 0) workspace_->merge();
    }

   private:
    BasicWorkspace* workspace_;
    std::size_t chunk_;
    Index offset_;
  };

  [[nodiscard]] Mark mark() { return Mark(*this); }

  /// n elements, aligned to a cache line, uninitialised. Valid until the innermost living mark dies.
  template <class T>
  VectorView<T, Space> take(Index n) {
    static_assert(std::is_trivially_copyable_v<T>);
    const Index unit = static_cast<Index>(alignment);
    const Index bytes = (n * static_cast<Index>(sizeof(T)) + unit - 1) / unit * unit;
    while (chunk_ < chunks_.size() && offset_ + bytes > chunks_[chunk_].size()) {
      ++chunk_;
      offset_ = 0;
    }
    if (chunk_ == chunks_.size()) chunks_.emplace_back(std::max(bytes, smallest_chunk), Uninitialised{});
    T* data = reinterpret_cast<T*>(chunks_[chunk_].data() + offset_);
    offset_ += bytes;
    return {data, n};
  }

  template <class T>
  MatrixView<T, Space> take(Index rows, Index cols) {
    return {take<T>(rows * cols).data(), rows, cols};
  }

  /// Bytes held.
  Index capacity() const {
    Index total = 0;
    for (const auto& chunk : chunks_) total += chunk.size();
    return total;
  }

 private:
  static constexpr Index smallest_chunk = Index{1} << 16;

  void merge() {
    if (chunks_.size() < 2) return;
    const Index total = capacity();
    chunks_.clear();
    chunks_.emplace_back(total, Uninitialised{});
  }

  std::vector<Buffer<unsigned char, Space>> chunks_;
  std::size_t chunk_ = 0;
  Index offset_ = 0;
  int marks_ = 0;
};

using Workspace = BasicWorkspace<Host>;
using DeviceWorkspace = BasicWorkspace<Device>;

}  // namespace eosin
