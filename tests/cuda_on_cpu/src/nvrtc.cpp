// NVRTC's interface: CUDA C++ is compiled for the CPU, by g++. What it gives as machine code of a GPU
// is a shared library of x86-64, which cuModuleLoadData loads.
//
// The text is left as it is, but for what no macro can do (`extern __shared__`, `__noinline__`); behind
// it comes a table of its kernels. device/cuda_on_cpu.h, included before it, makes C++ of the rest.
#include <nvrtc.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "module.h"

extern char **environ;
using std::string;
using std::vector;

struct _nvrtcProgram {
    string source, name, log, code;
    vector<std::pair<string, string>> headers;
    vector<string> expressions;
    std::map<string, string> lowered;
    bool compiled = false;
};

namespace {

const int ARCHS[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

uint64_t hash_of(const string &s, uint64_t h = 1469598103934665603ull) {
    for (unsigned char c : s) h = (h ^ c) * 1099511628211ull;
    return h;
}
string hex(uint64_t a) {
    char text[32];
    snprintf(text, sizeof text, "%016" PRIx64, a);
    return text;
}
string read(const string &path) {
    string data;
    if (FILE *f = fopen(path.c_str(), "r")) {
        char buffer[1 << 16];
        size_t n;
        while ((n = fread(buffer, 1, sizeof buffer, f)) > 0) data.append(buffer, n);
        fclose(f);
    }
    return data;
}
bool write(const string &path, const string &data) {
    FILE *f = fopen(path.c_str(), "w");
    if (!f) return false;
    const bool fine = fwrite(data.data(), 1, data.size(), f) == data.size();
    return fclose(f) == 0 && fine;
}
string stamp(const string &path) {
    struct stat s;
    return stat(path.c_str(), &s) ? "" : path + " " + std::to_string(s.st_size) + " " + std::to_string(s.st_mtim.tv_sec) + "." + std::to_string(s.st_mtim.tv_nsec);
}
bool set(const char *name) { const char *s = getenv(name); return s && *s && strcmp(s, "0"); }

string compiler() { const char *s = getenv("CUDA_ON_CPU_CXX"); return s && *s ? s : "g++"; }

string include_folder() {
    static const string folder = [] {
        Dl_info info;
        dladdr((void *)&include_folder, &info);
        const string lib = info.dli_fname;
        return lib.substr(0, lib.rfind('/')) + "/../include";
    }();
    return folder;
}

string cache_folder() {
    static const string folder = [] {
        string f;
        if (const char *e = getenv("CUDA_ON_CPU_CACHE")) f = e;
        else {
            const char *home = getenv("HOME");
            f = string(home ? home : "/tmp") + "/.cache/cuda_on_cpu";
        }
        for (size_t at = f.find('/', 1); at != string::npos; at = f.find('/', at + 1)) mkdir(f.substr(0, at).c_str(), 0755);
        mkdir(f.c_str(), 0755);
        return f;
    }();
    return folder;
}

// Runs a command; its output goes to a file, whose text is the answer.
int run(const vector<string> &words, const string &log, string &output) {
    vector<char *> argv;
    for (auto &w : words) argv.push_back((char *)w.c_str());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawnattr_t attributes;  // a parent that blocks or ignores signals must not spoil the child
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t pid;
    int status = -1;
    if (posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ) == 0) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    } else {
        write(log, "cannot run " + words[0] + ": set CUDA_ON_CPU_CXX\n");
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    output = read(log);
    unlink(log.c_str());
    return status;
}

const vector<string> &machine() {
    static const vector<string> f = [] {
        vector<string> f = {"-mf16c"};
        if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) f = {"-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt"};
        return f;
    }();
    return f;
}

// What the results depend on beside the source: the compiler, the machine and the headers here.
const string &identity() {
    static const string text = [] {
        string out;
        run({compiler(), "-dumpfullversion", "-dumpmachine"}, cache_folder() + "/version." + std::to_string(getpid()), out);
        for (auto *h : {"cuda_on_cpu.h", "cuda_fp16.h", "cuda_bf16.h", "cuComplex.h", "cooperative_groups.h", "cub/block/block_reduce.cuh", "cub/block/block_load.cuh", "cupy/cuda_workaround.h"}) out += hex(hash_of(read(include_folder() + "/" + h)));
        for (auto &m : machine()) out += m;
        return compiler() + " " + out + std::to_string(emulator::VERSION);
    }();
    return text;
}

vector<string> flags(const string &standard) {
    vector<string> all = {"-std=" + standard, "-O2", "-fno-tree-vectorize", "-fPIC", "-Wunused-variable", "-g0", "-fno-strict-aliasing", "-fwrapv", "-ffp-contract=fast", "-fno-math-errno",
                          "-fno-trapping-math", "-fno-signaling-nans", "-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables",
                          "-fno-gnu-unique", "-fno-semantic-interposition", "-fno-threadsafe-statics", "-fmax-errors=20", "-pipe"};
    all.insert(all.end(), machine().begin(), machine().end());
    return all;
}

// ---- the text ---------------------------------------------------------------------------------------

struct Found {
    string name;  // qualified
    int max_threads = 0;
    vector<size_t> places;  // of its last word in the text
    bool renamed = false;
};
struct Scan {
    vector<Found> kernels;
    bool in_macro = false, synchronizes = false, prints = false, doubles = false;
    vector<std::pair<size_t, string>> words;
};

bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

// Kernels are found by their words, at the level of namespaces; templates are left to name expressions.
Scan scanned(const string &s) {
    Scan out;
    struct Token { string text; size_t at; };
    vector<Token> tokens;
    bool line_start = true;
    for (size_t k = 0; k < s.size();) {
        const char c = s[k];
        if (c == '\n') { line_start = true; ++k; continue; }
        if (isspace((unsigned char)c)) { ++k; continue; }
        if (c == '/' && k + 1 < s.size() && s[k + 1] == '/') { while (k < s.size() && s[k] != '\n') ++k; continue; }
        if (c == '/' && k + 1 < s.size() && s[k + 1] == '*') { k = s.find("*/", k + 2); k = k == string::npos ? s.size() : k + 2; continue; }
        if (c == '#' && line_start) {  // a directive, with its continuation lines
            const size_t from = k;
            while (k < s.size() && s[k] != '\n') k += s[k] == '\\' && k + 1 < s.size() ? 2 : 1;
            const string line = s.substr(from, k - from);
            if (line.find("define") != string::npos) {
                if (line.find("__global__") != string::npos || line.find("__shared__") != string::npos) out.in_macro = true;
                if (line.find("__sync") != string::npos || line.find("_sync(") != string::npos) out.synchronizes = true;
                if (line.find("double") != string::npos) out.doubles = true;
            }
            if (line.find("include") != string::npos && (line.find("cub/") != string::npos || line.find("cooperative_groups") != string::npos || line.find("thrust/") != string::npos)) out.synchronizes = true;
            continue;
        }
        line_start = false;
        if (c == 'R' && k + 1 < s.size() && s[k + 1] == '"') {
            const size_t open = s.find('(', k);
            if (open != string::npos) {
                const string close = ")" + s.substr(k + 2, open - k - 2) + "\"";
                k = s.find(close, open);
                k = k == string::npos ? s.size() : k + close.size();
                continue;
            }
        }
        if (c == '"' || (c == '\'' && !(k && is_word(s[k - 1])))) {
            const size_t from = k++;
            while (k < s.size() && s[k] != c && s[k] != '\n') k += s[k] == '\\' ? 2 : 1;
            ++k;
            tokens.push_back({s.substr(from, std::min(k, s.size()) - from), from});
            continue;
        }
        if (is_word(c)) {
            const size_t from = k;
            while (k < s.size() && is_word(s[k])) ++k;
            tokens.push_back({s.substr(from, k - from), from});
            continue;
        }
        tokens.push_back({string(1, c), k++});
    }
    vector<string> scopes;  // "{" for what is no namespace
    string pending;         // the namespace whose brace comes next
    bool is_namespace = false, is_linkage = false, is_template = false;
    for (size_t k = 0; k < tokens.size(); ++k) {
        const string &t = tokens[k].text;
        if (t == "namespace") {
            is_namespace = true;
            pending.clear();
            while (k + 1 < tokens.size() && tokens[k + 1].text != "{" && tokens[k + 1].text != ";" && tokens[k + 1].text != "=") {
                if (is_word(tokens[k + 1].text[0]) || tokens[k + 1].text == ":") pending += tokens[k + 1].text;
                ++k;
            }
        } else if (t == "extern" && k + 2 < tokens.size() && tokens[k + 1].text == "\"C\"" && tokens[k + 2].text == "{") {
            is_linkage = true;
        } else if (t == "{") {
            scopes.push_back(is_namespace ? pending : is_linkage ? "" : "{");
            is_namespace = is_linkage = is_template = false;
        } else if (t == "}") {
            if (!scopes.empty()) scopes.pop_back();
            is_template = false;
        } else if (t == ";") {
            is_template = is_namespace = false;
        } else if (t == "template") {
            is_template = true;
        } else if (t == "double" || t == "float64" || t == "complex128") {
            out.doubles = true;
        } else if (t == "printf") {
            out.prints = true;
        } else if (t.size() > 6 && (t.compare(0, 6, "__sync") == 0 || t.compare(0, 6, "__shfl") == 0 || t.find("_sync") != string::npos)) {
            out.synchronizes = true;
        } else if (t == "sync" || t == "cooperative_groups") {
            out.synchronizes = true;
        } else if (t == "__global__") {
            Found f;
            string last;
            size_t j = k + 1, place = 0;
            for (; j < tokens.size(); ++j) {
                const string &u = tokens[j].text;
                if (u == ";" || u == "{") break;
                if (u == "(") {
                    if (last != "__launch_bounds__" && last != "__attribute__" && last != "__align__" && last != "__cluster_dims__" && last != "__maxnreg__" && is_word(last[0])) break;
                    if (last == "__launch_bounds__" && isdigit((unsigned char)tokens[j + 1].text[0])) f.max_threads = atoi(tokens[j + 1].text.c_str());
                    for (int depth = 0; j < tokens.size(); ++j) {
                        depth += tokens[j].text == "(" ? 1 : tokens[j].text == ")" ? -1 : 0;
                        if (!depth) break;
                    }
                    continue;
                }
                last = u;
                place = tokens[j].at;
            }
            const bool inside = std::find(scopes.begin(), scopes.end(), "{") != scopes.end();
            if (j < tokens.size() && tokens[j].text == "(" && !last.empty() && !is_template && !inside && last != "operator") {
                for (auto &n : scopes)
                    if (!n.empty()) f.name += "::" + n;
                f.name += "::" + last;
                f.places = {place};
                bool known = false;
                for (auto &o : out.kernels)
                    if (o.name == f.name) {
                        known = true;
                        o.max_threads = std::max(o.max_threads, f.max_threads);
                        o.places.push_back(place);
                    }
                if (!known) out.kernels.push_back(f);
            }
        }
    }
    return out;
}

string adapted(const string &source) {
    string s = source;
    if (s.find("__shared__") != string::npos) {
        // extern __shared__ T name[]: a pointer to the memory that the launch asked for
        static const std::regex dynamic(R"(\bextern\s+((?:volatile\s+|__align__\s*\([^()]*\)\s*|const\s+)*)__shared__\s+((?:[^;\[\]{}=])+?)\b(\w+)\s*\[\s*\]\s*;)");
        static const std::regex align(R"(__align__\s*\([^()]*\)|__attribute__\s*\(\(.*?\)\)|alignas\s*\([^()]*\))");
        string result;
        auto from = s.cbegin();
        for (std::sregex_iterator it(s.begin(), s.end(), dynamic), end; it != end; ++it) {
            result.append(from, (*it)[0].first);
            const string type = std::regex_replace((*it)[1].str() + (*it)[2].str(), align, "");
            const string name = (*it)[3];
            const long lines = std::count((*it)[0].first, (*it)[0].second, '\n');
            // a macro's name would be replaced in a declaration of a pointer, too: the same as before
            result += "__attribute__((unused)) " + type + "*" + "const " + name + " = (" + type + "*)cuda_on_cpu_dynamic();" + string(lines, '\n');
            from = (*it)[0].second;
        }
        result.append(from, s.cend());
        s = result;
        static const std::regex twice(R"(\bstatic\s+__shared__\b|\b__shared__\s+static\b)");
        s = std::regex_replace(s, twice, "__shared__");
    }
    if (s.find("__noinline__") != string::npos) {
        static const std::regex noinline_(R"((^|[^(\w])__noinline__\b)");
        s = std::regex_replace(s, noinline_, "$1__attribute__((noinline))");
    }
    return s;
}

// ---- a precompiled header for what CuPy's kernels include ----------------------------------------------

const char *const COMMON[] = {"cupy/complex.cuh", "cupy/carray.cuh", "cupy/atomics.cuh", "cupy/math_constants.h", "cupy/float16.cuh", "cupy/bfloat16.cuh", "cupy/cuda_workaround.h"};

// Options that choose among the headers' texts, and the folders.
string precompiled(const string &source, const string &standard, const vector<string> &given, const vector<string> &folders) {
    string text = "#include \"" + include_folder() + "/cuda_on_cpu.h\"\n", key;
    for (auto *h : COMMON) {
        const string name = h;
        if (source.find("<" + name + ">") == string::npos && source.find("\"" + name + "\"") == string::npos) continue;
        string where;
        for (auto &f : folders)
            if (access((f + "/" + name).c_str(), R_OK) == 0) { where = f + "/" + name; break; }
        if (where.empty()) continue;
        text += "#include <" + name + ">\n";
        key += stamp(where) + "\n";
    }
    vector<string> words = flags(standard);
    for (auto &o : given) words.push_back(o);
    key += identity() + text;
    for (auto &w : words) key += w + "\n";
    const string folder = cache_folder() + "/pch-" + hex(hash_of(key)), header = folder + "/before.h", gch = header + ".gch";
    if (access(gch.c_str(), R_OK) == 0) return header;
    mkdir(folder.c_str(), 0755);
    const int lock = open((folder + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (lock >= 0) flock(lock, LOCK_EX);
    if (access(gch.c_str(), R_OK) != 0) {
        write(header, text);
        const string tmp = folder + "/tmp." + std::to_string(getpid());
        words.insert(words.begin(), compiler());
        for (auto *w : {"-x", "c++-header", header.c_str(), "-o", tmp.c_str()}) words.push_back(w);
        string log;
        if (run(words, tmp + ".log", log) == 0) rename(tmp.c_str(), gch.c_str());
        else write(folder + "/error.log", log);
    }
    if (lock >= 0) close(lock);
    return header;
}

// ---- the errors of g++, as NVRTC writes them ---------------------------------------------------------------

string as_nvrtc(const string &log, const string &name) {
    static const std::regex line(R"(^(.*?):(\d+)(?::\d+)?: (?:fatal )?(error|warning): (.*)$)");
    string out;
    int errors = 0;
    size_t from = 0;
    while (from < log.size()) {
        size_t to = log.find('\n', from);
        if (to == string::npos) to = log.size();
        const string one = log.substr(from, to - from);
        std::smatch m;
        if (one.size() < 2000 && std::regex_match(one, m, line)) {
            out += m[1].str() + "(" + m[2].str() + "): " + m[3].str() + ": " + m[4].str() + "\n";
            errors += m[3] == "error";
        } else {
            out += one + "\n";
        }
        from = to + 1;
    }
    if (errors) out += "\n" + std::to_string(errors) + (errors == 1 ? " error" : " errors") + " detected in the compilation of \"" + name + "\".\n";
    return out;
}

string mangled(void *at, const string &otherwise) {
    Dl_info info;
    if (dladdr(at, &info) && info.dli_sname && info.dli_saddr == at) return info.dli_sname;
    return otherwise;
}

// The lowered names: the symbols that the entries of the table point at.
void read_names(_nvrtcProgram &p, const string &so) {
    void *h = dlopen(so.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!h) { p.log += string(dlerror()) + "\n"; return; }
    if (auto *c = (emulator::Compiled *)dlsym(h, "cuda_on_cpu_module"))
        for (uint32_t k = 0; k < c->count; ++k) p.lowered[c->kernels[k].name] = mangled(c->kernels[k].function, c->kernels[k].name);
    dlclose(h);
}

string trimmed(const string &s) {
    size_t a = s.find_first_not_of(" \t\n"), b = s.find_last_not_of(" \t\n");
    return a == string::npos ? "" : s.substr(a, b - a + 1);
}

string quoted(const string &s) {
    string out = "\"";
    for (char c : s) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

nvrtcResult compile(_nvrtcProgram &p, const vector<string> &options) {
    string standard = "c++17";
    vector<string> given, folders;
    bool flushes = false;
    string arch = "800";
    for (size_t k = 0; k < options.size(); ++k) {
        string o = options[k];
        auto value = [&](const char *name) {  // --name=x, --name x
            if (o.compare(0, strlen(name), name) == 0 && o.size() > strlen(name) && o[strlen(name)] == '=') return o.substr(strlen(name) + 1);
            if (o == name && k + 1 < options.size()) return options[++k];
            return string();
        };
        string v;
        if (o.compare(0, 2, "-I") == 0 || o.compare(0, 2, "-D") == 0 || o.compare(0, 2, "-U") == 0) {
            const char kind = o[1];
            string x = o.substr(2);
            if (x.empty() && k + 1 < options.size()) x = options[++k];
            if (kind == 'I') folders.push_back(x);
            else given.push_back(string("-") + kind + x);
        } else if (!(v = value("--include-path")).empty()) folders.push_back(v);
        else if (!(v = value("--define-macro")).empty()) given.push_back("-D" + v);
        else if (!(v = value("--undefine-macro")).empty()) given.push_back("-U" + v);
        else if (!(v = value("--pre-include")).empty()) { given.push_back("-include"); given.push_back(v); }
        else if (!(v = value("-include")).empty()) { given.push_back("-include"); given.push_back(v); }
        else if (!(v = value("-std")).empty() || !(v = value("--std")).empty()) standard = v == "c++20" || v == "c++23" ? "c++20" : v == "c++03" || v == "c++11" || v == "c++14" || v == "c++17" ? "c++17" : "?" + v;
        else if (!(v = value("-ftz")).empty() || !(v = value("--ftz")).empty()) flushes = v == "true";
        else if (o == "--use_fast_math" || o == "-use_fast_math") flushes = true;
        else if (!(v = value("-arch")).empty() || !(v = value("--gpu-architecture")).empty()) {
            const size_t at = v.find('_');
            const int number = at == string::npos ? 0 : atoi(v.c_str() + at + 1);
            if (std::find(std::begin(ARCHS), std::end(ARCHS), number) == std::end(ARCHS)) {
                p.log = "nvrtc: error: invalid value for --gpu-architecture (-arch)\n";
                return NVRTC_ERROR_INVALID_OPTION;
            }
            arch = std::to_string(number) + "0";
        } else if (!(v = value("-fmad")).empty() || !(v = value("--fmad")).empty()) { if (v == "false") given.push_back("-ffp-contract=off"); }
        else if (o == "-G" || o == "--device-debug" || o == "-lineinfo" || o == "--generate-line-info" || o == "-dw" || o == "-w" || o == "-rdc=true" || o == "-dc" || o == "--device-c" || o == "-default-device" || o == "--pch" || o == "-pch" || o == "-dlto" || o == "-ewp") {}
        else if (o.compare(0, 2, "--") == 0 || o.compare(0, 7, "-prec-d") == 0 || o.compare(0, 7, "-prec-s") == 0 || o.compare(0, 5, "-diag") == 0 || o.compare(0, 4, "-rdc") == 0 || o.compare(0, 4, "-max") == 0 || o.compare(0, 6, "-split") == 0) {
            static const char *const known[] = {"--device-as-default-execution-space", "--relocatable-device-code", "--prec-div", "--prec-sqrt", "--disable-warnings", "--restrict", "--extra-device-vectorization", "--maxrregcount", "--diag-", "--display-error-number", "--no-display-error-number", "--optimization-info", "--extensible-whole-program", "--builtin-", "--generate-", "--dlink-time-opt", "--dopt", "--ptxas-options", "--extended-lambda", "--expt-", "--split-compile", "--no-", "--device-", "--version-ident", "--brief-diagnostics", "--jump-table-density", "--time", "--minimal", "--create-pch", "--use-pch", "--pch-", "--fdevice-", "--frandom-seed", "--Ofast-compile", "--modify-stack-limit"};
            bool fine = o[1] != '-';
            for (auto *n : known) fine = fine || o.compare(0, strlen(n), n) == 0;
            if (!fine) { p.log = "nvrtc: error: unrecognized option " + o + " found\n"; return NVRTC_ERROR_INVALID_OPTION; }
        } else {
            p.log = "nvrtc: error: unrecognized option " + o + " found\n";
            return NVRTC_ERROR_INVALID_OPTION;
        }
    }
    if (standard[0] == '?') { p.log = "nvrtc: error: invalid value '" + standard.substr(1) + "' for --std\n"; return NVRTC_ERROR_INVALID_OPTION; }
    if (trimmed(p.source).empty() && p.expressions.empty()) {  // CuPy asks for the compiler's version so
        p.code = "//\n// compiled for the CPU by " + hex(hash_of(identity())) + "\n//\n";
        return NVRTC_SUCCESS;
    }
    given.push_back("-D__CUDA_ARCH__=" + arch);
    // Our headers first; never NVIDIA's.
    vector<string> kept = {include_folder()};
    for (auto &f : folders)
        if (access((f + "/crt/host_config.h").c_str(), R_OK) != 0 && std::find(kept.begin(), kept.end(), f) == kept.end()) kept.push_back(f);

    string everything = identity();
    for (auto &o : options) everything += o + "\n";
    for (auto &h : p.headers) everything += h.first + "\n" + h.second + "\n";
    for (auto &e : p.expressions) everything += e + "\n";
    const string name = p.name.empty() ? "default_program" : p.name;
    everything += name.substr(name.rfind('/') + 1) + "\n" + p.source;
    const string base = cache_folder() + "/" + hex(hash_of(everything)) + hex(hash_of(everything, 88172645463325252ull));
    const string so = base + ".so";
    p.log.clear();
    if (access(so.c_str(), R_OK) == 0) {
        p.code = read(so);
        p.log = read(base + ".log");
        if (!p.expressions.empty()) read_names(p, so);
        return NVRTC_SUCCESS;
    }

    const string unique = base + "." + std::to_string(getpid()) + "." + hex((uint64_t)pthread_self());
    string own;  // a folder for headers given as texts
    if (!p.headers.empty()) {
        own = unique + ".headers";
        mkdir(own.c_str(), 0755);
        for (auto &h : p.headers) {
            for (size_t at = h.first.find('/', 1); at != string::npos; at = h.first.find('/', at + 1)) mkdir((own + "/" + h.first.substr(0, at)).c_str(), 0755);
            write(own + "/" + h.first, adapted(h.second));
        }
        kept.insert(kept.begin() + 1, own);
    }
    for (auto &f : kept) given.push_back("-I" + f);

    const string cpp = unique + ".cpp", tmp = unique + ".so", log = unique + ".log";
    Scan scan = scanned(p.source);
    auto clean = [&] {
        if (set("CUDA_ON_CPU_KEEP")) rename(cpp.c_str(), (base + ".cpp").c_str());
        else unlink(cpp.c_str());
        unlink(tmp.c_str());
        if (!own.empty()) {
            string unused;
            run({"rm", "-r", own}, log, unused);
        }
    };
    const string header = precompiled(p.source, standard, given, kept);
    const vector<string> common = flags(standard);
    if (scan.in_macro) {  // kernels that macros define: look where the macros are gone
        vector<string> words = {compiler(), "-E", "-P", "-x", "c++"};
        words.insert(words.end(), common.begin(), common.end());
        for (auto &g : given) words.push_back(g);
        write(cpp, "#define __global__ __global__\n" + p.source);
        words.push_back(cpp);
        string text;
        if (run(words, log, text) == 0) {
            Scan other = scanned(text);
            scan.kernels = other.kernels;
            for (auto &k : scan.kernels) k.places.clear();
        }
    }
    string output, plain;
    int status = -1;
    for (int attempt = 0; attempt < 8; ++attempt) {
        string source = p.source;
        std::map<size_t, string> renames;
        for (auto &k : scan.kernels)
            if (k.renamed)
                for (size_t at : k.places) renames[at] = "cuda_on_cpu_kernel_";
        for (auto it = renames.rbegin(); it != renames.rend(); ++it) source.insert(it->first, it->second);
        string text = "# 1 \"" + name + "\"\n" + adapted(source) + "\n# 1 \"cuda_on_cpu_entries\"\n";
        // one line of the table for each kernel: the number of a line that g++ complains of tells which
        text += "extern \"C\" { CudaOnCpuState cuda_on_cpu_state; } static CudaOnCpuKernel cuda_on_cpu_kernels[] = {\n";
        size_t lines = 0;
        for (auto &k : scan.kernels) {
            const string shown = k.name.substr(2);
            const string full = k.renamed ? k.name.substr(0, k.name.rfind(':') + 1) + "cuda_on_cpu_kernel_" + k.name.substr(k.name.rfind(':') + 1) : k.name;
            text += "cuda_on_cpu::Entry<&" + full + ">::entry(" + quoted(shown) + ", " + std::to_string(k.max_threads) + "),\n";
            ++lines;
        }
        for (auto &e : p.expressions) {
            string x = trimmed(e);
            if (!x.empty() && x[0] == '&') x = trimmed(x.substr(1));
            text += "cuda_on_cpu::Entry<(&" + x + ")>::entry(" + quoted(e) + ", 0),\n";
        }
        const int module_flags = (flushes && !scan.doubles ? emulator::FLUSHES : 0) | (scan.synchronizes ? emulator::SYNCHRONIZES : 0) | (scan.prints ? emulator::PRINTS : 0);
        text += "{}};\n"
                "extern \"C\" { extern unsigned char __start_cuda_shared[] __attribute__((weak, visibility(\"hidden\"))), __stop_cuda_shared[] __attribute__((weak, visibility(\"hidden\")));\n"
                "struct CudaOnCpuModule { uint32_t version, flags; CudaOnCpuState *state; CudaOnCpuKernel *kernels; uint32_t count, unused; unsigned char *start, *stop; };\n"
                "__attribute__((visibility(\"default\"), used)) CudaOnCpuModule cuda_on_cpu_module = {" + std::to_string(emulator::VERSION) + ", " + std::to_string(module_flags) +
                ", &cuda_on_cpu_state, cuda_on_cpu_kernels, sizeof cuda_on_cpu_kernels / sizeof *cuda_on_cpu_kernels - 1, 0, __start_cuda_shared, __stop_cuda_shared}; }\n";
        if (!write(cpp, text)) { p.log = "cannot write " + cpp + "\n"; return NVRTC_ERROR_INTERNAL_ERROR; }
        vector<string> words = {compiler()};
        words.insert(words.end(), common.begin(), common.end());
        for (auto &g : given) words.push_back(g);
        for (auto *w : {"-include", header.c_str(), "-x", "c++", cpp.c_str(), "-o", tmp.c_str(), "-shared", "-Wl,-s", "-Wl,-Bsymbolic", "-Wl,--hash-style=gnu", "-lm"}) words.push_back(w);
        if (!plain.empty()) words.push_back(plain);
        status = run(words, log, output);
        if (status == 0) break;
        // A kernel with the name of other functions gets another one; a kernel in a branch that the
        // preprocessor leaves out is not in the table.
        static const std::regex entry(R"((?:^|\n)cuda_on_cpu_entries:(\d+):)");
        static const std::regex other(R"((?:^|\n)(?!cuda_on_cpu_entries:)[^\n:]+:\d+:\d+: (?:fatal )?error:)");
        std::set<size_t> wrong;
        for (std::sregex_iterator it(output.begin(), output.end(), entry), end; it != end; ++it) {
            const size_t n = std::stoul((*it)[1]);
            if (n >= 2 && n - 2 < lines) wrong.insert(n - 2);
        }
        if (plain.empty() && output.find("section type conflict") != string::npos) { plain = "-DCUDA_ON_CPU_PLAIN_SHARED"; continue; }
        if (wrong.empty() || std::regex_search(output, other)) break;
        vector<Found> left;
        for (size_t k = 0; k < scan.kernels.size(); ++k) {
            Found &f = scan.kernels[k];
            if (!wrong.count(k)) left.push_back(f);
            else if (!f.renamed && !f.places.empty() && output.find("deduce") != string::npos) {
                f.renamed = true;
                left.push_back(f);
            }
        }
        scan.kernels = left;
    }
    if (status != 0) {
        p.log = as_nvrtc(output, name);
        clean();
        return output.find("cuda_on_cpu_entries") != string::npos && !p.expressions.empty() && output.find(name + ":") == string::npos ? NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID : NVRTC_ERROR_COMPILATION;
    }
    p.code = read(tmp);
    p.log = as_nvrtc(output, name);  // warnings
    if (!p.log.empty()) write(base + ".log", p.log);
    if (!p.expressions.empty()) read_names(p, tmp);
    rename(tmp.c_str(), so.c_str());
    clean();
    return NVRTC_SUCCESS;
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API const char *nvrtcGetErrorString(nvrtcResult r) {
    static const char *const names[] = {"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT", "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION", "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE", "NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION", "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION", "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID", "NVRTC_ERROR_INTERNAL_ERROR"};
    return (unsigned)r < sizeof names / sizeof *names ? names[r] : "NVRTC_ERROR unknown";
}
API nvrtcResult nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return NVRTC_SUCCESS; }
API nvrtcResult nvrtcGetNumSupportedArchs(int *n) { *n = sizeof ARCHS / sizeof *ARCHS; return NVRTC_SUCCESS; }
API nvrtcResult nvrtcGetSupportedArchs(int *a) { memcpy(a, ARCHS, sizeof ARCHS); return NVRTC_SUCCESS; }
API nvrtcResult nvrtcCreateProgram(nvrtcProgram *out, const char *source, const char *name, int count, const char *const *texts, const char *const *names) {
    if (!out || !source) return NVRTC_ERROR_INVALID_INPUT;
    auto *p = new _nvrtcProgram;
    p->source = source;
    p->name = name ? name : "";
    for (int k = 0; k < count; ++k) p->headers.push_back({names[k], texts[k]});
    *out = p;
    return NVRTC_SUCCESS;
}
API nvrtcResult nvrtcDestroyProgram(nvrtcProgram *p) { delete *p; *p = nullptr; return NVRTC_SUCCESS; }
API nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int n, const char *const *options) {
    vector<string> list(options, options + n);
    const nvrtcResult r = compile(*p, list);
    p->compiled = r == NVRTC_SUCCESS;
    return r;
}
static nvrtcResult give_size(nvrtcProgram p, size_t *n) { if (!p->compiled) return NVRTC_ERROR_INVALID_PROGRAM; *n = p->code.size() + 1; return NVRTC_SUCCESS; }
static nvrtcResult give(nvrtcProgram p, char *s) { if (!p->compiled) return NVRTC_ERROR_INVALID_PROGRAM; memcpy(s, p->code.c_str(), p->code.size() + 1); return NVRTC_SUCCESS; }
API nvrtcResult nvrtcGetPTXSize(nvrtcProgram p, size_t *n) { return give_size(p, n); }
API nvrtcResult nvrtcGetPTX(nvrtcProgram p, char *s) { return give(p, s); }
API nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t *n) { return give_size(p, n); }
API nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char *s) { return give(p, s); }
API nvrtcResult nvrtcGetLTOIRSize(nvrtcProgram p, size_t *n) { return give_size(p, n); }
API nvrtcResult nvrtcGetLTOIR(nvrtcProgram p, char *s) { return give(p, s); }
API nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t *n) { *n = p->log.size() + 1; return NVRTC_SUCCESS; }
API nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char *s) { memcpy(s, p->log.c_str(), p->log.size() + 1); return NVRTC_SUCCESS; }
API nvrtcResult nvrtcAddNameExpression(nvrtcProgram p, const char *e) {
    if (p->compiled) return NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION;
    p->expressions.push_back(e);
    return NVRTC_SUCCESS;
}
API nvrtcResult nvrtcGetLoweredName(nvrtcProgram p, const char *e, const char **out) {
    if (!p->compiled) return NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION;
    auto it = p->lowered.find(e);
    if (it == p->lowered.end()) return NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID;
    *out = it->second.c_str();
    return NVRTC_SUCCESS;
}
