#pragma once

// The tables of group_sums.hpp on the device, and what a thread reads off them: S, P, T and V of one group at one a.
// The tables are made on the processor and uploaded once for a fit; 12 KiB for a usual group, some megabytes in all, so
// that they stay in the L2 cache. A look-up reads 48 doubles (384 bytes) for one logarithm and 48 multiply-adds; groups
// without a table and a beyond it take the sum over the nodes.

#include <eosin/core/cuda_context.cuh>
#include <eosin/glm/group_sums.hpp>

#include <vector>

namespace eosin::glm {

/// Pointers to device memory.
struct DeviceGroupSums {
  const FlatGroupSums::Table* tables;
  const double* pieces;
  const double* nodes;
  const double* weights;

  __device__ GroupSumValues values(int group, double a) const {
    constexpr int order = static_cast<int>(GroupSums::order);
    constexpr double per_unit = GroupSums::pieces_per_unit, smallest = GroupSums::smallest;
    const FlatGroupSums::Table& table = tables[group];
    int piece = 0;
    double x = a * table.inverse_lowest;
    if (a > table.lowest) {
      if (a >= table.highest) return direct(table, a);
      const double u = (math::log_normal(a > smallest ? a : smallest) - table.origin) * per_unit;
      const int last = table.pieces - 2, interval = u > 0.0 ? static_cast<int>(u) : 0;
      piece = (interval < last ? interval : last) + 1;
      x = 2.0 * (u - (piece - 1)) - 1.0;
    }
    // Even and odd powers apart: two chains of half the length.
    const double* c = pieces + (static_cast<Index>(table.first_piece) + piece) * (order * 4);
    const double square = x * x;
    double even[4], odd[4];
    for (int i = 0; i < 4; ++i) {
      even[i] = c[(order - 2) * 4 + i];
      odd[i] = c[(order - 1) * 4 + i];
    }
    for (int m = order - 4; m >= 0; m -= 2)
      for (int i = 0; i < 4; ++i) {
        even[i] = even[i] * square + c[m * 4 + i];
        odd[i] = odd[i] * square + c[(m + 1) * 4 + i];
      }
    return {even[0] + odd[0] * x, even[1] + odd[1] * x, even[2] + odd[2] * x, even[3] + odd[3] * x};
  }

 private:
  __device__ GroupSumValues direct(const FlatGroupSums::Table& table, double a) const {
    const double inverse_square = 1.0 / (a * a);
    GroupSumValues sum{0.0, 0.0, 0.0, 0.0};
    for (int i = table.first_node; i < table.first_node + table.nodes; ++i) {
      const auto terms = detail::group_sum_terms(nodes[i], weights[i], a, inverse_square);
      sum.s += terms.s;
      sum.p += terms.p;
      sum.t += terms.t;
      sum.v += terms.v;
    }
    return sum;
  }
};

/// New device memory with the contents of a vector.
template <class T>
Vector<T, Device> on_device(CudaContext& context, const std::vector<T>& host) {
  return eosin::on_device(context, VectorView<const T>(host.data(), static_cast<Index>(host.size())));
}

/// Owns the tables.
class GroupSumsOnDevice {
 public:
  GroupSumsOnDevice(CudaContext& context, const FlatGroupSums& flat)
      : tables_(on_device(context, flat.tables)),
        pieces_(on_device(context, flat.pieces)),
        nodes_(on_device(context, flat.nodes)),
        weights_(on_device(context, flat.weights)) {}

  DeviceGroupSums pointers() const {
    return {tables_.view().data(), pieces_.view().data(), nodes_.view().data(), weights_.view().data()};
  }

 private:
  Vector<FlatGroupSums::Table, Device> tables_;
  Vector<double, Device> pieces_, nodes_, weights_;
};

}  // namespace eosin::glm
