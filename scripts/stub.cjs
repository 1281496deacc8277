// Stands in for packages that dockerode names but a Unix socket never needs (ssh2, gRPC, archives): see build.ts.
module.exports = {};
