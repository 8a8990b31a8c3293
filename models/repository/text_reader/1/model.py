"""Pictures to the text in them: PP-OCRv4 by RapidOCR on ONNX Runtime, inside Triton's Python backend.

Input `picture` (n, 640, 640, 3) RGB bytes, the whole of a frame on grey; outputs its surest twelve lines from top to bottom,
`line` (n, 12), empty where there are fewer, and `line_confidence` (n, 12). The weights come with the library.
"""

import json

import numpy as np
import triton_python_backend_utils as pb_utils
from rapidocr_onnxruntime import RapidOCR

MOST = 12
# Of a line; what is longer is a page of text, of which a viewer reads as little.
LONGEST = 256
SURROUND = 127
# Boxes that are looked at: a picture made to look like text everywhere must not hold the model for everybody.
MOST_BOXES = 24


class TritonPythonModel:
    def initialize(self, args):
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"expected numpy<2 in Triton's Python environment, got {np.__version__}: outputs would come back empty"
            )
        threads = int(json.loads(args["model_config"])["parameters"]["threads"]["string_value"])
        # By its own defaults a small picture is made larger first, and a page of letters is found in every wall of bricks.
        self.reader = RapidOCR(
            intra_op_num_threads=threads,
            inter_op_num_threads=1,
            use_cls=False,
            det_limit_side_len=640,
            det_limit_type="max",
            det_max_candidates=MOST_BOXES,
        )
        # The first pass allocates; better before the model is ready than in an upload's request.
        self.read(np.zeros((640, 640, 3), np.uint8))

    def execute(self, requests):
        responses = []
        for request in requests:
            pictures = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy()
            read = []
            for picture in pictures:
                # A page of text takes seconds, and whoever asked may have left.
                if request.is_cancelled():
                    break
                read.append(self.read(picture))
            if len(read) < len(pictures):
                gone = pb_utils.TritonError("whoever asked has left", pb_utils.TritonError.CANCELLED)
                responses.append(pb_utils.InferenceResponse(error=gone))
                continue
            lines, confidences = zip(*read, strict=True)
            outputs = [pb_utils.Tensor("line", np.array(lines, np.object_))]
            outputs.append(pb_utils.Tensor("line_confidence", np.array(confidences, np.float32)))
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses

    def read(self, picture):
        """Return twelve lines as bytes and twelve confidences."""
        blue_first = np.ascontiguousarray(within_surround(picture)[:, :, ::-1])
        found, _ = self.reader(blue_first, use_cls=False)
        surest = sorted(found or [], key=lambda line: -float(line[2]))[:MOST]
        lines = sorted(surest, key=lambda line: line[0][0][1])
        texts = [text[:LONGEST].encode() for _, text, _ in lines] + [b""] * (MOST - len(lines))
        return texts, [float(score) for _, _, score in lines] + [0.0] * (MOST - len(lines))


def within_surround(picture):
    """Return a picture without the grey beside it, of which reading would take as long."""
    shown = (picture != SURROUND).any(axis=2)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(rows):
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
