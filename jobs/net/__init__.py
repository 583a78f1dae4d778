"""The network, where others name the addresses: what is fetched, sent and listened to."""
