// What Vega's modules expect of a loader: define(name, body) runs the body once, require(name) gives what it exported.
const vegaModules = {
  loaded: {},
  require(name) {
    if (!(name in vegaModules.loaded)) throw Error("no module " + name);
    return vegaModules.loaded[name];
  },
  define(name, body) {
    const module = {exports: {}};
    body.call(undefined, module.exports, module, vegaModules.require);
    vegaModules.loaded[name] = module.exports;
  },
};
