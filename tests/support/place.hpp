#pragma once

// Puts what a golden case gives where a context computes, and brings results back: nothing to do on the processor.

#include <eosin/core/context.hpp>
#include <eosin/core/parameters.hpp>

#include <type_traits>
#include <utility>

namespace eosin::testing {

template <class C>
C new_context() {
  if constexpr (std::is_same_v<C, CpuContext>) {
    return CpuContext({.threads = 2});
  } else {
    return C();
  }
}

template <class C, class T>
Matrix<T, typename C::space> place([[maybe_unused]] C& context, Matrix<T> host) {
  if constexpr (std::is_same_v<typename C::space, Host>) {
    return host;
  } else {
    return on_device(context, host.view());
  }
}
template <class C, class T>
Vector<T, typename C::space> place([[maybe_unused]] C& context, Vector<T> host) {
  if constexpr (std::is_same_v<typename C::space, Host>) {
    return host;
  } else {
    return on_device(context, host.view());
  }
}

template <class C, class T, class Space>
Matrix<T> fetch([[maybe_unused]] C& context, const Matrix<T, Space>& result) {
  if constexpr (std::is_same_v<Space, Host>) {
    return result;
  } else {
    return on_host(context, result.view());
  }
}
/// Elements without gaps.
template <class C, class T, class Space>
Vector<std::remove_const_t<T>> fetch([[maybe_unused]] C& context, VectorView<T, Space> result) {
  if constexpr (std::is_same_v<Space, Host>) {
    Vector<std::remove_const_t<T>> out(result.size());
    for (Index i = 0; i < out.size(); ++i) out[i] = result[i];
    return out;
  } else {
    return on_host(context, result);
  }
}

/// A loss: on the processor what loss() returns, on a device what loss(sum) leaves in its memory.
template <class C, class Loss>
double loss_value([[maybe_unused]] C& context, const Loss& loss) {
  if constexpr (std::is_same_v<C, CpuContext>) {
    return loss();
  } else {
    Vector<double, typename C::space> sum(1);
    loss(sum.view());
    return fetch(context, std::as_const(sum).view())[0];
  }
}

/// The values of all parameters, from the host.
template <class C, class T, class Space>
void place_parameters([[maybe_unused]] C& context, const Vector<T>& host, VectorView<T, Space> to) {
  if constexpr (std::is_same_v<Space, Host>) {
    for (Index i = 0; i < host.size(); ++i) to[i] = host[i];
  } else {
    upload<T>(context, host.view(), to);
  }
}

}  // namespace eosin::testing
