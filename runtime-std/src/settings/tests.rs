use super::*;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    data_dir: Option<String>,
    relay: Relay,
    log_file: LogFile,
    rules: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Rule {
    name: String,
    weight: u32,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Relay {
    port: u16,
    name: String,
    tls: Option<bool>,
    parents: Vec<String>,
    role: Role,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            port: 52_311,
            name: String::new(),
            tls: None,
            parents: Vec::new(),
            role: Role::Relay,
        }
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Role {
    Root,
    Relay,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct LogFile {
    size_max_mb: u32,
    rules: Vec<Rule>,
}

impl Settings for Sample {
    fn check(&self, checks: &mut Checks) {
        checks.range("relay.port", &self.relay.port, 1..=60_000);
        checks.range("log_file.size_max_mb", &self.log_file.size_max_mb, 0..=9);
        for (list, rules) in [
            ("rules", &self.rules),
            ("log_file.rules", &self.log_file.rules),
        ] {
            for (place, rule) in rules.iter().enumerate() {
                checks.range(&format!("{list}[{place}].weight"), &rule.weight, 1..=9);
            }
        }
    }
}

fn from_file(text: &str) -> Result<Sample, String> {
    load(text, &[], &[])
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Sample, String> {
    load("", variables, &[])
}

/// Loads from a file named `a.toml`; its folder is left out of errors.
fn load(
    text: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &str, &str)],
) -> Result<Sample, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, text).unwrap();
    let mut sources = Sources::default();
    sources.file(&path);
    sources.environment(
        variables
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    for (flag, key, value) in flags {
        sources.flag(flag, key, value);
    }
    let folder = format!("{}/", dir.path().display());
    sources
        .load()
        .map_err(|error| error.to_string().replace(&folder, ""))
}

#[test]
fn later_layers_win() {
    let file = "data_dir = \"/d\"\n[relay]\nport = 1\nname = \"file\"\n";
    let variables = [("TAUTLINE_RELAY_PORT", "2"), ("TAUTLINE_RELAY_TLS", "true")];
    let flags = [("--port", "relay.port", "3")];
    let settings = load(file, &variables, &flags).unwrap();
    assert_eq!(settings.data_dir.as_deref(), Some("/d"));
    assert_eq!(settings.relay.name, "file");
    assert_eq!((settings.relay.port, settings.relay.tls), (3, Some(true)));
    assert_eq!(load(file, &variables, &[]).unwrap().relay.port, 2);
    assert_eq!(load("", &[], &[]).unwrap(), Sample::default());
}

#[test]
fn variables_are_read_as_the_key_wants() {
    let settings = from_environment(&[
        ("TAUTLINE_DATA_DIR", "/x y"),
        ("TAUTLINE_RELAY_NAME", "1234"),
        ("TAUTLINE_RELAY_PARENTS", r#"["a", "b"]"#),
        ("TAUTLINE_RELAY_ROLE", "root"),
        ("TAUTLINE_LOG_FILE_SIZE_MAX_MB", "5"),
        ("TAUTLINE_TOKEN", "left alone"),
        ("OTHER_RELAY_PORT", "left alone"),
    ])
    .unwrap();
    assert_eq!(settings.data_dir.as_deref(), Some("/x y"));
    assert_eq!(settings.relay.name, "1234");
    assert_eq!(settings.relay.parents, ["a", "b"]);
    assert_eq!(settings.relay.role, Role::Root);
    assert_eq!(settings.log_file.size_max_mb, 5);
}

#[test]
fn errors_in_the_file_show_their_place() {
    let cases = [
        (
            "[relay]\n  prt = 1\n",
            "a.toml:2:3: unknown field `prt`, expected one of `port`, `name`, `tls`, `parents`, \
             `role`\n 2 |   prt = 1\n   |   ^^^",
        ),
        (
            "[relay]\nname = \"ä\"\nport = \"x\"\n",
            "a.toml:3:8: relay.port: invalid type: string \"x\", expected u16\n 3 | port = \
             \"x\"\n   |        ^^^",
        ),
        (
            "relay.role = \"boss\"\n",
            "a.toml:1:14: relay.role: unknown variant `boss`, expected `root` or `relay`\n 1 | \
             relay.role = \"boss\"\n   |              ^^^^^^",
        ),
        (
            "[relay]\nport = 0\n",
            "a.toml:2: relay.port is 0, but must be 1 to 60000",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(from_file(text).unwrap_err(), expected);
    }
    let broken = from_file("[relay]\nport = = 1\n").unwrap_err();
    assert!(broken.starts_with("a.toml:2:8: "), "{broken}");
    let twice = from_file("[relay]\nport = 1\nport = 2\n").unwrap_err();
    assert!(twice.starts_with("a.toml:3:1: "), "{twice}");
}

#[test]
fn errors_in_variables_and_flags_name_them() {
    assert_eq!(
        from_environment(&[("TAUTLINE_RELAY_PORT", "70000")]).unwrap_err(),
        "TAUTLINE_RELAY_PORT: relay.port: invalid value: integer `70000`, expected u16"
    );
    assert_eq!(
        from_environment(&[
            ("TAUTLINE_LOG_FILE_SIZE", "1"),
            ("TAUTLINE_RELAY_PORT", "x"),
        ])
        .unwrap_err(),
        "TAUTLINE_LOG_FILE_SIZE: no such setting; known are TAUTLINE_LOG_FILE_SIZE_MAX_MB, \
         TAUTLINE_LOG_FILE_RULES\n\
         TAUTLINE_RELAY_PORT: relay.port: invalid type: string \"x\", expected u16"
    );
    let flags = [
        ("--port", "relay.port", "60001"),
        ("--size", "log_file.size_max_mb", "10"),
    ];
    assert_eq!(
        load("", &[], &flags).unwrap_err(),
        "--port: relay.port is 60001, but must be 1 to 60000\n--size: log_file.size_max_mb is \
         10, but must be 0 to 9"
    );
    assert_eq!(
        load("", &[], &[("--name", "relay.nme", "x")]).unwrap_err(),
        "--name: relay.nme: unknown field `nme`, expected one of `port`, `name`, `tls`, \
         `parents`, `role`"
    );
}

#[test]
fn errors_in_lists_of_sections_show_their_place() {
    let list = "[[rules]]\nname = \"a\"\nweight = 1\n[[rules]]\nweight = ";
    let load = |weight: &str| from_file(&format!("{list}{weight}\n"));
    assert_eq!(load("9").unwrap().rules.len(), 2);
    assert_eq!(
        load("10").unwrap_err(),
        "a.toml:5: rules[1].weight is 10, but must be 1 to 9"
    );
    assert_eq!(
        load("true").unwrap_err(),
        "a.toml:5:10: rules[1].weight: invalid type: boolean `true`, expected u32\n 5 | weight = \
         true\n   |          ^^^^"
    );
    let variable = ("TAUTLINE_RULES", "[{ name = \"a\", weight = 7 }]");
    assert_eq!(from_environment(&[variable]).unwrap().rules[0].weight, 7);
    assert_eq!(
        from_environment(&[("TAUTLINE_RULES", "[{ name = \"a\" }]")]).unwrap_err(),
        "TAUTLINE_RULES: rules[0].weight is 0, but must be 1 to 9"
    );
}

#[test]
fn a_list_of_sections_may_be_in_a_section() {
    let list = "[[log_file.rules]]\nweight = 1\n[[log_file.rules]]\nname = \"a\"\n";
    assert_eq!(
        from_file(list).unwrap_err(),
        "a.toml:3: log_file.rules[1].weight is 0, but must be 1 to 9"
    );
    assert_eq!(
        from_file(&format!("{list}weight = 10\n")).unwrap_err(),
        "a.toml:5: log_file.rules[1].weight is 10, but must be 1 to 9"
    );
    let inline = "[log_file]\nrules = [\n{ weight = true }]\n";
    let told = from_file(inline).unwrap_err();
    let expected = "a.toml:3:12: log_file.rules[0].weight: invalid type: boolean `true`";
    assert!(told.starts_with(expected), "{told}");
    let variable = ("TAUTLINE_LOG_FILE_RULES", "[{ weight = 7 }, {}]");
    assert_eq!(
        from_environment(&[variable]).unwrap_err(),
        "TAUTLINE_LOG_FILE_RULES: log_file.rules[1].weight is 0, but must be 1 to 9"
    );
}

#[test]
fn variables_that_set_nothing_are_named() {
    let mut sources = Sources::default();
    let names = [
        "TAUTLINE_CONFIG",
        "TAUTLINE_TOKEN",
        "TAUTLINE_RELAY",
        "TAUTLINE_RELAY_PORT",
        "TAUTLINE_DATA_DIR",
        "TAUTLINE_RULES",
        "TAUTLINE_RULE",
        "TAUTLINE_DATADIR",
        "OTHER",
    ];
    sources.environment(names.map(|name| (name.into(), "1".into())));
    assert_eq!(
        sources.strangers::<Sample>(),
        ["TAUTLINE_RULE", "TAUTLINE_DATADIR"]
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let mut sources = Sources::default();
    sources.file("/nowhere/a.toml");
    let error = sources.load::<Sample>().unwrap_err().to_string();
    assert!(
        error.starts_with("/nowhere/a.toml: No such file"),
        "{error}"
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, b"# fine\n# \xff\n").unwrap();
    let error = sources.file(&path).load::<Sample>().unwrap_err();
    assert!(
        error.to_string().ends_with("a.toml:2: not UTF-8"),
        "{error}"
    );
}
