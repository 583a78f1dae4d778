"""The peers: the same work as an experienced engineer would write it on other tools, without any code of ours."""
