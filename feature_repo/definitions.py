"""What `feast apply` finds in this folder."""

import os
from pathlib import Path

from feature_repo.views import VIDEO, VIEWER, build_views, viewer_service

LOG = Path(os.environ.get("HEADWATER_FEATURES__LOG", Path(__file__).resolve().parent.parent / "var/feature_log"))

viewer, video = VIEWER, VIDEO
_views = build_views(LOG.resolve())
user_activity = _views["user_activity"]
user_interests = _views["user_interests"]
user_history = _views["user_history"]
video_engagement = _views["video_engagement"]
video_content = _views["video_content"]
viewer_features = viewer_service(_views)
