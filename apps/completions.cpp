#include "apps/completions.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

namespace strata {
namespace {

struct Flag {
  std::vector<std::string> names;  // with their dashes
  std::string help;
  bool takes_value = false;
  bool takes_folder = false;
  std::vector<std::string> values;  // what it may be, if that is known
};

struct Command {
  std::string name, help;
  std::vector<Flag> flags;
  bool takes_folders = false;  // its arguments are folders, not files
};

/// The first sentence, or up to a remark in brackets, in one line.
std::string brief(const std::string& text) {
  return text.substr(0, std::min({text.find('\n'), text.find(" ("), text.find("; "), text.find(". ")}));
}

/// What CLI11's IsMember says of its set: "{a,b}".
std::vector<std::string> members(const std::string& type) {
  std::vector<std::string> values;
  const std::size_t open = type.find('{'), close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return values;
  for (std::size_t at = open + 1; at < close;) {
    const std::size_t comma = std::min(type.find(',', at), close);
    values.push_back(type.substr(at, comma - at));
    at = comma + 1;
  }
  return values;
}

Flag describe(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  flag.help = brief(option.get_description());
  flag.takes_value = option.get_items_expected_max() > 0;
  flag.takes_folder = option.check_lname("model");
  flag.values = members(option.get_type_name());
  return flag;
}

/// Whether the argument is a model or another folder.
bool is_folder(const CLI::Option& argument) {
  const std::string name = argument.get_name(true);
  return name == "MODEL" || name.ends_with("_DIR");
}

std::vector<Command> commands_of(const CLI::App& program) {
  std::vector<Command> commands;
  for (const CLI::App* app : program.get_subcommands([](const CLI::App*) { return true; })) {
    Command command{app->get_name(), brief(app->get_description()), {}, false};
    for (const CLI::Option* option : app->get_options()) {
      if (option->nonpositional()) command.flags.push_back(describe(*option));
      if (option->get_positional() && is_folder(*option)) command.takes_folders = true;
    }
    if (command.name == "completions")
      command.flags.push_back({{"bash", "zsh", "fish"}, "The shell", false, false, {}});
    commands.push_back(std::move(command));
  }
  return commands;
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

/// `text` in single quotes, as POSIX shells and zsh read it.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// The same for fish, whose single quotes know \' and \\.
std::string fish_quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += (c == '\'' || c == '\\' ? "\\" : "") + std::string(1, c);
  return out + "'";
}

/// For bash to complete to folders where the function finds no word.
const std::string kBashFolders = "compopt -o dirnames +o default";

std::string bash_script(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& c : commands) names.push_back(c.name);
  std::string script =
      "# bash completion for strata: source <(strata completions bash)\n"
      "_strata() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    COMPREPLY=($(compgen -W " +
      quoted(joined(names, " ")) +
      " -- \"$current\"))\n"
      "    return\n"
      "  fi\n"
      "  case \"$command:$before\" in\n";
  for (const Command& c : commands) {
    for (const Flag& f : c.flags) {
      if (f.values.empty() && !f.takes_folder) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : f.names) patterns.push_back(c.name + ":" + name);
      script += "    " + joined(patterns, "|") + ") " +
                (f.takes_folder ? kBashFolders
                                : "COMPREPLY=($(compgen -W " + quoted(joined(f.values, " ")) + " -- \"$current\"))") +
                "; return ;;\n";
    }
  }
  script += "  esac\n  case \"$command\" in\n";
  for (const Command& c : commands) {
    std::vector<std::string> words;
    for (const Flag& f : c.flags) words.insert(words.end(), f.names.begin(), f.names.end());
    if (words.empty()) continue;
    const std::string condition = c.name == "completions" ? "" : "[[ $current == -* ]] && ";
    script += "    " + c.name + ") ";
    if (c.takes_folders) script += "[[ $current == -* ]] || " + kBashFolders + "\n      ";
    script += condition + "COMPREPLY=($(compgen -W " + quoted(joined(words, " ")) + " -- \"$current\")) ;;\n";
  }
  return script + "  esac\n}\ncomplete -o default -F _strata strata\n";
}

/// A word of zsh's _arguments and _describe, in which colons and brackets mean something.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (char c : text) out += (c == ':' || c == '[' || c == ']' || c == '\\' ? "\\" : "") + std::string(1, c);
  return out;
}

std::string zsh_script(const std::vector<Command>& commands) {
  std::string script =
      "#compdef strata\n"
      "# zsh completion for strata: source <(strata completions zsh), or save as _strata in a folder of $fpath\n"
      "_strata() {\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const Command& c : commands) script += "    " + quoted(c.name + ":" + zsh_text(c.help)) + "\n";
  script +=
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe 'command' commands\n"
      "    return\n"
      "  fi\n"
      "  local command=${words[2]}\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case \"$command\" in\n";
  for (const Command& c : commands) {
    script += "    " + c.name + ")\n";
    if (c.name == "completions") {
      script += "      _values 'shell' bash zsh fish ;;\n";
      continue;
    }
    script += "      _arguments";
    for (const Flag& f : c.flags) {
      const std::string value = !f.takes_value     ? ""
                                : f.takes_folder   ? ":folder:_files -/"
                                : f.values.empty() ? ":value:_files"
                                                   : ":value:(" + joined(f.values, " ") + ")";
      for (const std::string& name : f.names)
        script += " \\\n        " + quoted(name + "[" + zsh_text(f.help) + "]" + value);
    }
    script += c.takes_folders ? " \\\n        '*:folder:_files -/' ;;\n" : " \\\n        '*:file:_files' ;;\n";
  }
  return script +
         "  esac\n}\nif [ \"$funcstack[1]\" = _strata ]; then _strata \"$@\"; else compdef _strata strata; fi\n";
}

std::string fish_script(const std::vector<Command>& commands) {
  std::string script = "# fish completion for strata: strata completions fish | source\n";
  for (const Command& c : commands) {
    script += "complete -c strata -n __fish_use_subcommand -f -a " + c.name + " -d " + fish_quoted(c.help) + "\n";
    const std::string here = "complete -c strata -n '__fish_seen_subcommand_from " + c.name + "'";
    if (c.takes_folders) script += here + " -f -a '(__fish_complete_directories)'\n";
    for (const Flag& f : c.flags) {
      if (c.name == "completions" && !f.names.empty() && f.names[0] == "bash") {
        script += here + " -f -a 'bash zsh fish'\n";
        continue;
      }
      std::string line = here;
      for (const std::string& name : f.names) {
        line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (f.takes_folder)
        line += " -x -a '(__fish_complete_directories)'";
      else if (f.takes_value)
        line += f.values.empty() ? " -r -F" : " -x -a " + fish_quoted(joined(f.values, " "));
      script += line + " -d " + fish_quoted(f.help) + "\n";
    }
  }
  return script;
}

}  // namespace

std::string completion_script(const CLI::App& program, const std::string& shell) {
  const std::vector<Command> commands = commands_of(program);
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  return fish_script(commands);
}

void add_completions_command(CLI::App& program) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("completions", "Print a completion script for bash, zsh or fish.");
  command->add_option("SHELL", *shell, "The shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer("Examples:\n  source <(strata completions bash)\n  strata completions fish | source");
  command->callback([shell, &program] { std::cout << completion_script(program, *shell); });
}

}  // namespace strata
