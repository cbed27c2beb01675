"""Computes consistent_hash.json from the rules in core/src/balance/ring.rs, independently of the Rust code.

    pip install xxhash && python3 consistent_hash.py > consistent_hash.json
"""

import bisect
import json

import xxhash

SEED = 0x6D726567


def place(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data, seed=SEED)


def ring(servers):
    count = len(servers)
    points = 2048 if count <= 128 else 512 if count <= 1024 else 64
    heaviest = max(server["weight"] for server in servers)
    reference = 1
    while reference < heaviest:
        reference *= 2
    placed = []
    for server in servers:
        if server["weight"] == 0:
            continue
        number = max(1, (points * server["weight"] + reference // 2) // reference)
        name = server["name"].encode()
        placed += [(place(name + i.to_bytes(4, "little")), server["name"]) for i in range(number)]
    return sorted(placed)


def order(placed, key, length):
    """The first servers on the way round from the key: the one it belongs to, and those that take over."""
    start = bisect.bisect_left(placed, (place(key.encode()), ""))
    found = []
    for step in range(len(placed)):
        name = placed[(start + step) % len(placed)][1]
        if name not in found:
            found.append(name)
        if len(found) == length:
            break
    return found


def case(name, servers, keys):
    placed = ring(servers)
    usable = sum(1 for server in servers if server["weight"] > 0)
    rows = [
        {"key": key, "hash": f"{place(key.encode()):016x}", "servers": order(placed, key, min(3, usable))}
        for key in keys
    ]
    return {"name": name, "servers": servers, "keys": rows}


def equal(count, weight=1):
    return [{"name": f"server-{index:03}", "weight": weight} for index in range(count)]


KEYS = ["", "a", "alice", "bob", "session-1", "session-2", "Grüße", "日本語", "🦀", "x" * 300]
KEYS += [f"user-{number}" for number in range(40)]

CASES = [
    case("three equal servers", equal(3), KEYS),
    case("one server", equal(1), KEYS[:10]),
    case(
        "weights 5, 2 and 1, and one drained",
        [
            {"name": "big", "weight": 5},
            {"name": "middle", "weight": 2},
            {"name": "small", "weight": 1},
            {"name": "drained", "weight": 0},
        ],
        KEYS,
    ),
    case("a weight far below the largest keeps one point", [{"name": "a", "weight": 100000}, {"name": "b", "weight": 1}], KEYS),
    case("a hundred servers of weight 100", equal(100, 100), KEYS),
    case("more than 128 servers have 512 points each", equal(129), KEYS[:20]),
    case("more than 1024 servers have 64 points each", equal(1025), KEYS[:20]),
]


def compact(case):
    """One server list and one key a line: readable, and a change shows as a change of lines."""
    dump = lambda value: json.dumps(value, ensure_ascii=False)
    keys = ",\n".join("        " + dump(row) for row in case["keys"])
    return (
        f'    {{\n      "name": {dump(case["name"])},\n      "servers": {dump(case["servers"])},\n'
        f'      "keys": [\n{keys}\n      ]\n    }}'
    )


print('{\n  "rules": "core/src/balance/ring.rs",')
print(f'  "hash": "XXH3-64",\n  "seed": {SEED},\n  "cases": [')
print(",\n".join(compact(one) for one in CASES))
print("  ]\n}")
