#pragma once

// Everything that needs Eigen alone. What needs a further library is included by name: eosin/io/, and the headers of
// data/ and eval/ that read files.

#include <eosin/core/bfloat16.hpp>
#include <eosin/core/buffer.hpp>
#include <eosin/core/config.hpp>
#include <eosin/core/constant_matrix.hpp>
#include <eosin/core/context.hpp>
#include <eosin/core/convolution_backend.hpp>
#include <eosin/core/eigen.hpp>
#include <eosin/core/error.hpp>
#include <eosin/core/gemm_backend.hpp>
#include <eosin/core/parameters.hpp>
#include <eosin/core/random.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/core/thread_pool.hpp>
#include <eosin/core/version.hpp>
#include <eosin/core/view.hpp>
#include <eosin/core/workspace.hpp>

#include <eosin/math/distributions.hpp>
#include <eosin/math/exponential.hpp>
#include <eosin/math/gamma_difference.hpp>
#include <eosin/math/gelu.hpp>
#include <eosin/math/logarithm.hpp>
#include <eosin/math/negative_binomial.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/math/polygamma.hpp>
#include <eosin/math/polynomial.hpp>
#include <eosin/math/rational.hpp>
#include <eosin/math/stirling.hpp>

#include <eosin/ops/attention.hpp>
#include <eosin/ops/batch_norm.hpp>
#include <eosin/ops/block_product.hpp>
#include <eosin/ops/convolution.hpp>
#include <eosin/ops/dropout.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/few_rows_product.hpp>
#include <eosin/ops/gather_rows.hpp>
#include <eosin/ops/gelu.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/gemm_eigen.hpp>
#include <eosin/ops/layer_norm.hpp>
#include <eosin/ops/linear_gelu.hpp>
#include <eosin/ops/negative_binomial.hpp>
#include <eosin/ops/normalise_rows.hpp>
#include <eosin/ops/packed_product.hpp>
#include <eosin/ops/panel_product.hpp>
#include <eosin/ops/pooling.hpp>
#include <eosin/ops/prototypes.hpp>
#include <eosin/ops/reduce.hpp>
#include <eosin/ops/sinusoidal_position.hpp>
#include <eosin/ops/softmax.hpp>

#include <eosin/layers/adapter.hpp>
#include <eosin/layers/batch_norm.hpp>
#include <eosin/layers/convolution.hpp>
#include <eosin/layers/embedding.hpp>
#include <eosin/layers/feed_forward.hpp>
#include <eosin/layers/gelu_stack.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/layers/layer_norm.hpp>
#include <eosin/layers/lazy_embedding.hpp>
#include <eosin/layers/linear.hpp>
#include <eosin/layers/mlp.hpp>
#include <eosin/layers/projection_head.hpp>
#include <eosin/layers/prototype_head.hpp>
#include <eosin/layers/self_attention.hpp>
#include <eosin/layers/transformer.hpp>
#include <eosin/layers/transformer_block.hpp>

#include <eosin/losses/composition.hpp>
#include <eosin/losses/composition_pearson.hpp>
#include <eosin/losses/info_nce.hpp>
#include <eosin/losses/negative_binomial.hpp>
#include <eosin/losses/pearson.hpp>
#include <eosin/losses/prototype.hpp>
#include <eosin/losses/softmax_cross_entropy.hpp>

#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>
#include <eosin/optim/schedule.hpp>
#include <eosin/optim/sgd.hpp>

#include <eosin/glm/arrow_factor.hpp>
#include <eosin/glm/benjamini_hochberg.hpp>
#include <eosin/glm/bounded_quadratic.hpp>
#include <eosin/glm/categories.hpp>
#include <eosin/glm/components.hpp>
#include <eosin/glm/contrasts.hpp>
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/dense_design.hpp>
#include <eosin/glm/dense_factor.hpp>
#include <eosin/glm/dense_fit.hpp>
#include <eosin/glm/dense_solver.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/dispersion_search.hpp>
#include <eosin/glm/dispersion_trend.hpp>
#include <eosin/glm/fit.hpp>
#include <eosin/glm/gene_blocks.hpp>
#include <eosin/glm/gene_counts.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/glm/markers.hpp>
#include <eosin/glm/merged_gene.hpp>
#include <eosin/glm/mixture_solver.hpp>
#include <eosin/glm/naive_means.hpp>
#include <eosin/glm/natural_spline.hpp>
#include <eosin/glm/null_space.hpp>
#include <eosin/glm/prototypes.hpp>
#include <eosin/glm/quasi_likelihood.hpp>
#include <eosin/glm/root.hpp>
#include <eosin/glm/separation.hpp>
#include <eosin/glm/size_factors.hpp>
#include <eosin/glm/soft_labels.hpp>
#include <eosin/glm/trend_shrinkage.hpp>

#include <eosin/retrieval/neighbours.hpp>
#include <eosin/retrieval/top_k.hpp>

#include <eosin/vision/augmentation.hpp>
#include <eosin/vision/densenet.hpp>
#include <eosin/vision/image.hpp>
#include <eosin/vision/image_batch.hpp>
#include <eosin/vision/nuclei.hpp>
#include <eosin/vision/patch_encoder.hpp>
#include <eosin/vision/patch_loader.hpp>
#include <eosin/vision/patches.hpp>
#include <eosin/vision/resnet.hpp>
#include <eosin/vision/stain.hpp>
#include <eosin/vision/stem.hpp>
#include <eosin/vision/texture.hpp>
#include <eosin/vision/vit.hpp>

#include <eosin/data/counts.hpp>
#include <eosin/data/gene_filter.hpp>
#include <eosin/data/normalisation.hpp>
#include <eosin/data/splits.hpp>
#include <eosin/data/spot_pitch.hpp>
#include <eosin/data/standardise.hpp>

#include <eosin/eval/controls.hpp>
#include <eosin/eval/correlation.hpp>
#include <eosin/eval/errors.hpp>
#include <eosin/eval/gene_sets.hpp>
#include <eosin/eval/k_means.hpp>
#include <eosin/eval/metrics.hpp>
#include <eosin/eval/partition_agreement.hpp>
#include <eosin/eval/principal_components.hpp>
#include <eosin/eval/ridge.hpp>
#include <eosin/eval/summary.hpp>

#include <eosin/sim/tissue.hpp>

#include <eosin/io/atomic_file.hpp>
#include <eosin/io/base64.hpp>
#include <eosin/io/file.hpp>
#include <eosin/io/gene_spool.hpp>
#include <eosin/io/lzf.hpp>
#include <eosin/io/number.hpp>
