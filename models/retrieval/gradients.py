"""Two products of large matrices with gradients of our own, where torch's take several times the memory or time."""

import warnings
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


class Sparse:
    """A constant sparse matrix that dense ones can be multiplied with, gradients included."""

    def __init__(self, matrix: sparse.csr_matrix, device: torch.device) -> None:
        self.shape = matrix.shape
        self._forward, self._backward = (_csr(each).to(device) for each in (matrix, matrix.T))

    def __deepcopy__(self, memo: object) -> "Sparse":
        # A constant: an average of the weights around it needs no other.
        return self

    def times(self, dense: Tensor) -> Tensor:
        """Return the product, (rows, d), with a dense matrix (columns, d)."""
        product: Tensor = _Product.apply(self._forward, self._backward, dense)  # type: ignore[no-untyped-call]
        return product


def softmax_loss(viewers: Tensor, videos: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over n viewers of -Σ weight log softmax(viewer · videos)[wanted].

    `viewers` are (n, d), `videos` (m, d), `wanted` rows of them (n, k) and `weights` (n, k), 0 where there is none.
    """
    loss: Tensor = _SoftmaxLoss.apply(viewers, videos, wanted, weights)  # type: ignore[no-untyped-call]
    return loss


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, None, ctx.transposed @ gradient.contiguous()


class _SoftmaxLoss(torch.autograd.Function):
    """Keeps one (n, m) matrix where plain operations keep four."""

    @staticmethod
    def forward(ctx: Any, viewers: Tensor, videos: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
        shares = torch.softmax(viewers @ videos.T, -1)
        ctx.save_for_backward(viewers, videos, shares, wanted, weights)
        return -(shares.gather(1, wanted).clamp(min=1e-30).log() * weights).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        viewers, videos, shares, wanted, weights = ctx.saved_tensors
        total = weights.sum(1, keepdim=True)
        of_viewers, of_videos = (shares @ videos) * total, shares.T @ (viewers * total)
        for at in range(wanted.shape[1]):
            weight, row = weights[:, at : at + 1], wanted[:, at]
            of_viewers -= weight * videos[row]
            of_videos.index_add_(0, row, -weight * viewers)
        return of_viewers * gradient, of_videos * gradient, None, None


def _csr(matrix: sparse.spmatrix) -> Tensor:
    ordered = matrix.tocsr()
    ordered.sort_indices()
    bounds, columns = (torch.from_numpy(part.astype(np.int64)) for part in (ordered.indptr, ordered.indices))
    values = torch.from_numpy(ordered.data.astype(np.float32))
    with warnings.catch_warnings():
        # That sparse tensors are new, and that what SciPy made is not checked again.
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(bounds, columns, values, size=ordered.shape)
