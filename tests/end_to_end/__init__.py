"""The whole gate, over real sockets: real clients on one side, real or simulated upstreams on the other."""
