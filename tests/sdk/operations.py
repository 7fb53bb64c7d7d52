"""Prints the public operations of an SDK's client class; the argument names the SDK.

A method's variants (`…_async`, `…_with_options`) make the same request, so they count as the method itself.
"""

import sys

if sys.argv[1] == "fc2":
    from fc2 import Client
elif sys.argv[1] == "fc20210406":
    from alibabacloud_fc_open20210406.client import Client
else:
    from alibabacloud_fc20230330.client import Client

own = {name for name, value in vars(Client).items() if not name.startswith("_") and callable(value)}
for name in sorted(own):
    is_variant = name.removesuffix("_async") in own - {name} or name.removesuffix("_async").endswith("with_options")
    if not is_variant:
        print(name)
