"""Which files no mail may carry: what a double click runs, on some system. Published; docs/attachments.md has it, too.

The list that mail clients and senders agree on (Outlook's blocked extensions, Gmail's, those of the large senders),
as data: a renamed file is not found out, and need not be, for it no longer runs by a click.
"""

DENIED_EXTENSIONS = frozenset(
    """
    ade adp apk app appcontent-ms appinstaller application appref-ms appx appxbundle asp aspx asx bas bat bgi cab cdxml
    cer chm cmd cnt com cpl crt csh der diagcab dll dmg ex ex_ exe fxp gadget grp hlp hpj hta htc img inf ins iso isp its
    jar jnlp js jse ksh lib lnk mad maf mag mam maq mar mas mat mau mav maw mcf mda mdb mde mdt mdw mdz msc msh msh1
    msh1xml msh2 msh2xml mshxml msi msix msixbundle msp mst msu ops osd pcd pif pl plg prf prg printerexport ps1 ps1xml
    ps2 ps2xml psc1 psc2 psd1 psdm1 pssc pst py pyc pyo pyw pyz pyzw reg rpm scf scr sct search-ms settingcontent-ms shb
    shs sys theme tmp udl url vb vbe vbp vbs vhd vhdx vsmacros vsw vxd webpnp website ws wsb wsc wsf wsh xbap xll xnk
    """.split()  # noqa: SIM905 - one a line would be a page of noise
)
DENIED_TYPES = frozenset(
    """
    application/hta application/java-archive application/javascript application/vnd.android.package-archive
    application/vnd.microsoft.portable-executable application/vnd.ms-cab-compressed application/x-apple-diskimage
    application/x-bat application/x-chrome-extension application/x-csh application/x-dosexec application/x-executable
    application/x-javascript application/x-ms-application application/x-ms-dos-executable application/x-ms-installer
    application/x-ms-shortcut application/x-msdos-program application/x-msdownload application/x-msi application/x-sh
    application/x-vbs application/xhta text/javascript text/vbs text/vbscript text/x-vbscript
    """.split()  # noqa: SIM905 - one a line would be a page of noise
)
