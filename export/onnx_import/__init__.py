"""Networks that come as ONNX files: anomalib's exports of 1.x and 2.x, and any other with a map or a score.

    file ─▶ source ─▶ image_input ─▶ folding ─▶ pixels ─▶ outputs ─▶ tail ─▶ surgery ─▶ proof ─▶ bundle

No torch is needed. Whatever wrote the file, the result is one graph: image (1, 3, H, W) ─▶ image_score (1,),
anomaly_map (1, rows, columns), both raw, as they are before the library's own normalisation.
"""
