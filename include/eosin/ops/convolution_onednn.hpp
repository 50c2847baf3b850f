#pragma once

// oneDNN (libdnnl, 2.x and 3.x) behind ops::convolution: its direct convolutions of floats with the channels together.
// Link the CMake target eosin::onednn. The gradient of the data at stride 1 is the forward convolution of dy with the
// weights turned round and their channels exchanged, for which oneDNN has the faster code:
//
//   dx(a, b, c) = sum_{o,u,v} W(o, c, k-1-u, k-1-v) dy(a - (k-1-p) + u, b - (k-1-p) + v, o)
//
// The backend keeps one kernel per shape and pass; a step that comes back to the
// same shapes makes none and allocates nothing.

#include <eosin/core/buffer.hpp>
#include <eosin/core/convolution_backend.hpp>
#include <eosin/core/error.hpp>
#include <eosin/ops/onednn_calls.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

class OneDnnConvolution final : public ConvolutionBackend {
 public:
  const char* name() const override { return "oneDNN"; }

  const ConvolutionKernel* kernel(const ConvolutionShape& shape, ConvolutionPass pass) const override {
    const std::scoped_lock lock(mutex_);
    for (const Entry& entry : entries_)
      if (entry.pass == pass && entry.shape == shape) return entry.kernel.get();
    detail::use_this_thread_alone();
    entries_.push_back({shape, pass, Kernel::make(engine_, shape, pass)});
    return entries_.back().kernel.get();
  }

 private:
  using Memory = dnnl::memory;

  class Kernel final : public ConvolutionKernel {
   public:
    /// Null where oneDNN has its reference code alone.
    static std::unique_ptr<Kernel> make(const dnnl::engine& engine, const ConvolutionShape& s, ConvolutionPass pass) {
      auto kernel = std::make_unique<Kernel>(engine, s, pass);
      if (!kernel->fast_) kernel.reset();
      return kernel;
    }

    Kernel(const dnnl::engine& engine, const ConvolutionShape& given, ConvolutionPass given_pass)
        : engine_(engine), shape_(given), pass_(given_pass) {
      turned_ = pass_ == ConvolutionPass::backward_data && given.stride == 1 && given.padding < given.kernel;
      if (turned_) {
        pass_ = ConvolutionPass::forward;
        shape_.height = given.out_height();
        shape_.width = given.out_width();
        shape_.padding = given.kernel - 1 - given.padding;
        std::swap(shape_.channels, shape_.outputs);
      }
      const ConvolutionShape& s = shape_;
      const ConvolutionPass pass = pass_;
      const auto f32 = Memory::data_type::f32;
      x_ = Memory::desc({s.images, s.channels, s.height, s.width}, f32, Memory::format_tag::nhwc);
      y_ = Memory::desc({s.images, s.outputs, s.out_height(), s.out_width()}, f32, Memory::format_tag::nhwc);
      const Memory::dims weight_shape{s.outputs, s.channels, s.kernel, s.kernel};
      plain_ = Memory::desc(weight_shape, f32, Memory::format_tag::oihw);
      const Memory::desc any(weight_shape, f32, Memory::format_tag::any);
      const Memory::dims strides{s.stride, s.stride};
      // What the last output pixels do not reach is not padding.
      const Memory::dims before{s.padding, s.padding};
      const Memory::dims after{(s.out_height() - 1) * s.stride + s.kernel - s.height - s.padding,
                               (s.out_width() - 1) * s.stride + s.kernel - s.width - s.padding};
      dnnl::primitive_attr attributes;
      attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      const auto direct = dnnl::algorithm::convolution_direct;
      const auto take = [&](const auto& description, const Memory::desc& packed, auto make_primitive) {
        packed_ = packed;
        scratch_ = description.scratchpad_desc();
        fast_ = std::string_view(description.impl_info_str()).find("ref") == std::string_view::npos;
        primitive_ = make_primitive();
      };
      using Forward = dnnl::convolution_forward;
      using Data = dnnl::convolution_backward_data;
      using Weights = dnnl::convolution_backward_weights;
      const auto training = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
      const Forward::primitive_desc forward(engine, training, direct, x_, any, y_, strides, before, after, attributes);
      const auto data = [&] {
        return Data::primitive_desc(engine, direct, x_, any, y_, strides, before, after, forward, attributes);
      };
      const auto weights = [&] {
        return Weights::primitive_desc(engine, direct, x_, any, y_, strides, before, after, forward, attributes);
      };
#else
      const Forward::primitive_desc forward(Forward::desc(training, direct, x_, any, y_, strides, before, after),
                                            attributes, engine);
      const auto data = [&] {
        return Data::primitive_desc(Data::desc(direct, x_, any, y_, strides, before, after), attributes, engine,
                                    forward);
      };
      const auto weights = [&] {
        return Weights::primitive_desc(Weights::desc(direct, x_, any, y_, strides, before, after), attributes, engine,
                                       forward);
      };
#endif
      if (pass == ConvolutionPass::forward) {
        take(forward, forward.weights_desc(), [&] { return dnnl::primitive(Forward(forward)); });
      } else if (pass == ConvolutionPass::backward_data) {
        const auto description = data();
        take(description, description.weights_desc(), [&] { return dnnl::primitive(Data(description)); });
      } else {
        const auto description = weights();
        take(description, description.diff_weights_desc(), [&] { return dnnl::primitive(Weights(description)); });
      }
      dnnl::primitive_attr plain_attributes;
      const bool out = pass == ConvolutionPass::backward_weights;
      reorder_ = dnnl::reorder(dnnl::reorder::primitive_desc(engine, out ? packed_ : plain_, engine,
                                                             out ? plain_ : packed_, plain_attributes));
    }

    Index packed_weights() const override {
      return static_cast<Index>(packed_.get_size() / sizeof(float));
    }
    Index scratch_bytes() const override {
      return static_cast<Index>(scratch_.get_size());
    }

    void pack(const float* weights, float* packed) const override {
      if (!turned_) return reorder(weights, packed);
      auto execution = take_execution();
      if (execution->turned.size() == 0) execution->turned = Buffer<float>(shape_.weights());
      const Index square = shape_.kernel * shape_.kernel;
      float* to = execution->turned.data();
      for (Index c = 0; c < shape_.outputs; ++c)
        for (Index o = 0; o < shape_.channels; ++o, to += square)
          for (Index tap = 0; tap < square; ++tap)
            to[tap] = weights[(o * shape_.outputs + c) * square + (square - 1 - tap)];
      reorder(execution->turned.data(), packed);
      give_back(std::move(execution));
    }
    void unpack(const float* packed, float* weights) const override {
      reorder(packed, weights);
    }

    void run(const float* first, const float* second, float* result, unsigned char* scratch) const override {
      detail::use_this_thread_alone();
      auto execution = take_execution();
      execution->first.set_data_handle(const_cast<float*>(first));
      execution->second.set_data_handle(const_cast<float*>(second));
      execution->result.set_data_handle(result);
      execution->scratch.set_data_handle(scratch);
      int names[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
      if (pass_ == ConvolutionPass::backward_data) {
        names[0] = DNNL_ARG_DIFF_DST;
        names[2] = DNNL_ARG_DIFF_SRC;
      } else if (pass_ == ConvolutionPass::backward_weights) {
        names[1] = DNNL_ARG_DIFF_DST;
        names[2] = DNNL_ARG_DIFF_WEIGHTS;
      }
      const std::array<dnnl_exec_arg_t, 4> arguments{{{names[0], execution->first.get()},
                                                      {names[1], execution->second.get()},
                                                      {names[2], execution->result.get()},
                                                      {DNNL_ARG_SCRATCHPAD, execution->scratch.get()}}};
      execute(primitive_, execution->stream, arguments.data(), 4);
      give_back(std::move(execution));
    }

   private:
    /// What one call holds: memory objects, whose addresses change from call to call, and a stream.
    struct Execution {
      dnnl::stream stream;
      Memory first, second, result, scratch, plain, packed;
      Buffer<float> turned;
    };

    std::unique_ptr<Execution> take_execution() const {
      {
        const std::scoped_lock lock(mutex_);
        if (!idle_.empty()) {
          auto execution = std::move(idle_.back());
          idle_.pop_back();
          return execution;
        }
      }
      const auto memory = [&](const Memory::desc& description) { return Memory(description, engine_, nullptr); };
      const bool forward = pass_ == ConvolutionPass::forward, data = pass_ == ConvolutionPass::backward_data;
      return std::make_unique<Execution>(Execution{dnnl::stream(engine_), memory(data ? y_ : x_),
                                                   memory(forward || data ? packed_ : y_),
                                                   memory(forward ? y_
                                                          : data  ? x_
                                                                  : packed_),
                                                   memory(scratch_), memory(plain_), memory(packed_), Buffer<float>()});
    }
    void give_back(std::unique_ptr<Execution> execution) const {
      const std::scoped_lock lock(mutex_);
      idle_.push_back(std::move(execution));
    }

    void reorder(const float* from, float* to) const {
      detail::use_this_thread_alone();
      auto execution = take_execution();
      const bool out = pass_ == ConvolutionPass::backward_weights;
      Memory& source = out ? execution->packed : execution->plain;
      Memory& target = out ? execution->plain : execution->packed;
      source.set_data_handle(const_cast<float*>(from));
      target.set_data_handle(to);
      const std::array<dnnl_exec_arg_t, 2> arguments{{{DNNL_ARG_FROM, source.get()}, {DNNL_ARG_TO, target.get()}}};
      execute(reorder_, execution->stream, arguments.data(), 2);
      give_back(std::move(execution));
    }

    static void execute(const dnnl::primitive& primitive, const dnnl::stream& stream, const dnnl_exec_arg_t* arguments,
                        int count) {
      const detail::SignalsHeld held;
      auto status = dnnl_primitive_execute(primitive.get(), stream.get(), count, arguments);
      if (status == dnnl_success) status = dnnl_stream_wait(stream.get());
      if (status != dnnl_success)
        throw Error("oneDNN: a convolution failed with status " + std::to_string(static_cast<int>(status)));
    }

    dnnl::engine engine_;
    ConvolutionShape shape_;
    ConvolutionPass pass_;
    bool turned_ = false;  // computes a backward pass by a forward one
    Memory::desc x_, y_, plain_, packed_, scratch_;
    dnnl::primitive primitive_;
    dnnl::reorder reorder_;
    bool fast_ = false;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Execution>> idle_;
  };

  struct Entry {
    ConvolutionShape shape;
    ConvolutionPass pass;
    std::unique_ptr<Kernel> kernel;
  };

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  mutable std::mutex mutex_;
  mutable std::vector<Entry> entries_;
};

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
