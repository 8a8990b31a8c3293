"""How well videos are found for viewers, on logs of what they watched."""
