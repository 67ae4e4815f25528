"""pmempool, as Debian ships it."""

from tests.conftest import require


def test_a_pool_on_a_device_lives_and_is_removed(daxemu_run):
    require("pmempool", "pmdk-tools")
    script = """
        pmempool create --layout=life obj /dev/dax0.0 &&
        pmempool info /dev/dax0.0 &&
        pmempool check -v /dev/dax0.0 &&
        pmempool rm -f /dev/dax0.0 &&
        ! pmempool info /dev/dax0.0 2>/dev/null
    """
    shown = daxemu_run("sh", "-ec", script).stdout
    assert "type                     : device dax" in shown
    assert "size                     : 67108864" in shown
    assert "Layout                   : life" in shown
    assert "/dev/dax0.0: consistent" in shown
